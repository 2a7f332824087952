//! Topics, their subjects, and which partition a key belongs to.

use serde::Deserialize;

use crate::event::EventKind;

/// The names of all topics; the defaults are the contract's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// Row events.
    pub rows: String,
    /// Payout events.
    pub payouts: String,
    /// Order events.
    pub orders: String,
    /// Facts.
    pub facts: String,
    /// Flags, never compacted.
    pub flagged: String,
    /// Records that could not be accepted.
    pub quarantine: String,
}

impl Default for Topics {
    fn default() -> Self {
        let name = |name: &str| format!("redline.{name}");
        Self {
            rows: name("rows"),
            payouts: name("payouts"),
            orders: name("orders"),
            facts: name("facts"),
            flagged: name("flagged"),
            quarantine: name("quarantine"),
        }
    }
}

impl Topics {
    /// Checks that the names can be those of topics, and differ.
    ///
    /// # Errors
    /// The key that is wrong, and what is expected.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("rows", &self.rows),
            ("payouts", &self.payouts),
            ("orders", &self.orders),
            ("facts", &self.facts),
            ("flagged", &self.flagged),
            ("quarantine", &self.quarantine),
        ];
        let is_legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        for (index, (key, name)) in named.iter().enumerate() {
            if !(1..=249).contains(&name.len())
                || !name.chars().all(is_legal)
                || [".", ".."].contains(&name.as_str())
            {
                return Err(format!(
                    "topics.{key} is {name:?}; a topic's name has 1 to 249 letters, digits, `.`, `_` and `-`"
                ));
            }
            if let Some((other, _)) = named[..index].iter().find(|(_, taken)| taken == name) {
                return Err(format!(
                    "topics.{key} and topics.{other} are both {name:?}; each needs a topic of its own"
                ));
            }
        }
        Ok(())
    }

    /// The topic of a kind of events.
    pub fn of(&self, kind: EventKind) -> &str {
        match kind {
            EventKind::Row => &self.rows,
            EventKind::Payout => &self.payouts,
            EventKind::Order => &self.orders,
            EventKind::Fact => &self.facts,
        }
    }

    /// What an input topic holds; none for the others.
    pub fn kind_of(&self, topic: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| self.of(*kind) == topic)
    }
}

/// The registry's subject for the values of a topic.
pub fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// The partition of a key among so many: the same one that Kafka's Java client chooses, so that foreign
/// producers and ours keep a key together. Partitions must be at least 1.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    i32::try_from(hash % partitions.max(1).unsigned_abs()).unwrap_or(0)
}

/// Murmur2 as Kafka's Java client computes it (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafkas_java_client() {
        // From UtilsTest.testMurmur2 of Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
        }
    }

    #[test]
    fn one_partition_takes_every_key() {
        assert_eq!(partition_of(b"billing/R-1", 1), 0);
    }
}
