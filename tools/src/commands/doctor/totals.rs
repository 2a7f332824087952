//! `redline doctor --totals`: whether everything that was counted is there, and everything that is there was counted.

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use redline_consumer::batch::RawRecord;
use redline_consumer::cluster::Cluster;
use redline_consumer::span::{self, SpanError};
use redline_schemas::ContentHash;
use redline_store::read_only_connection;
use redline_store::record::Outcome;
use redline_store::totals::{Counted, Entry, Ledger, Snapshot, TotalsError};
use serde_json::json;
use tokio::sync::mpsc;

use crate::commands::{counted, spinner};
use crate::settings::Settings;

/// How often a partition is begun again whose oldest records Kafka removes meanwhile.
const ATTEMPTS: u32 = 5;

/// Checks all control totals against themselves, the tables and what Kafka still has; answers whether two of them disagree.
pub(crate) async fn totals(settings: &Settings, json: bool) -> anyhow::Result<bool> {
    let bar = spinner()?;
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut connection = read_only_connection(settings.database.url(), "doctor").await?;
    let mut snapshot = Snapshot::begin(&mut connection).await?;
    let result = check(settings, &mut snapshot, &bar).await;
    bar.finish_and_clear();
    let disagreement = match &result {
        Ok(_) => None,
        Err(error) => match error.downcast_ref::<TotalsError>() {
            Some(TotalsError::Disagreement(sentence)) => Some(sentence.clone()),
            _ => return result.map(|_| false),
        },
    };
    let (recorded, held) = result.unwrap_or_default();
    let mut out = std::io::stdout();
    match (&disagreement, json) {
        (_, true) => writeln!(out, "{}", to_json(recorded, held, disagreement.as_deref()))?,
        (Some(sentence), false) => writeln!(out, "disagreement: {sentence}")?,
        (None, false) => writeln!(out, "{}", told(recorded, held))?,
    }
    Ok(disagreement.is_some())
}

fn told(recorded: Counted, held: u64) -> String {
    let removed = match recorded.removed {
        0 => String::new(),
        removed => format!(
            "Of those accepted, retention removed {}.\n",
            counted(removed, "content", "contents")
        ),
    };
    format!(
        "{} in {} of {}:\n{} accepted, {} duplicate, {} quarantined.\n{removed}\
         They lie side by side, agree with the tables,\nand with {} that Kafka still has.",
        counted(recorded.records(), "record", "records"),
        counted(recorded.ranges, "range", "ranges"),
        counted(recorded.ledgers, "partition", "partitions"),
        recorded.accepted,
        recorded.duplicate,
        recorded.quarantined,
        counted(held, "record", "records")
    )
}

fn to_json(recorded: Counted, held: u64, disagreement: Option<&str>) -> serde_json::Value {
    let numbers = disagreement.is_none().then(|| {
        json!({
            "partitions": recorded.ledgers,
            "ranges": recorded.ranges,
            "records": recorded.records(),
            "accepted": recorded.accepted,
            "duplicate": recorded.duplicate,
            "quarantined": recorded.quarantined,
            "removed_by_retention": recorded.removed,
            "compared_with_kafka": held,
        })
    });
    json!({"agree": disagreement.is_none(), "disagreement": disagreement, "totals": numbers})
}

async fn check(
    settings: &Settings,
    snapshot: &mut Snapshot<'_>,
    bar: &ProgressBar,
) -> anyhow::Result<(Counted, u64)> {
    let tell = |records: u64, what: &str| {
        bar.set_message(format!(
            "{} compared with {what}",
            counted(records, "record", "records")
        ));
    };
    let recorded = snapshot.check(|records| tell(records, "the tables")).await?;
    let cluster = Cluster::new(&settings.kafka)?;
    let mut held = 0;
    for ledger in snapshot
        .ledgers()
        .await?
        .into_iter()
        .filter(|ledger| ledger.is_live)
    {
        held += with_kafka(settings, &cluster, snapshot, &ledger).await?;
        tell(held, "Kafka");
    }
    Ok((recorded, held))
}

/// Compares a ledger with what Kafka still has of it; answers how many records that are.
async fn with_kafka(
    settings: &Settings,
    cluster: &Cluster,
    snapshot: &mut Snapshot<'_>,
    ledger: &Ledger,
) -> anyhow::Result<u64> {
    let mut attempts = 0;
    loop {
        let kafka = cluster.describe(&ledger.topic, ledger.partition).await?;
        if kafka.topic_id != ledger.topic_id {
            return Err(disagreement(format!(
                "{}: the topic was made again since (topic id {} now, {} in the record)",
                ledger.named(),
                kafka.topic_id,
                ledger.topic_id
            )));
        }
        attempts += 1;
        match compare(settings, snapshot, ledger, kafka.log_start).await {
            Err(error) if error.is::<SpanError>() && attempts < ATTEMPTS => {
                let is_removed = matches!(error.downcast_ref(), Some(SpanError::Removed(..)));
                if !is_removed {
                    return Err(error);
                }
            }
            compared => return compared,
        }
    }
}

async fn compare(
    settings: &Settings,
    snapshot: &mut Snapshot<'_>,
    ledger: &Ledger,
    log_start: i64,
) -> anyhow::Result<u64> {
    let (sender, mut chunks) = mpsc::channel::<Vec<RawRecord>>(4);
    let (kafka, topic, partition) = (settings.kafka.clone(), ledger.topic.clone(), ledger.partition);
    let span = log_start..ledger.next_offset;
    let reading = tokio::spawn(async move { span::read(&kafka, &topic, partition, span, sender).await });
    let mut entries = Entries::from(log_start);
    let mut held = 0;
    while let Some(chunk) = chunks.recv().await {
        for record in chunk {
            let entry = entries.next(snapshot, ledger).await?;
            agree(ledger, entry, &record)?;
            held += 1;
        }
    }
    reading.await.context("reading Kafka broke down")??;
    match entries.next(snapshot, ledger).await? {
        None => Ok(held),
        Some(entry) => Err(disagreement(format!(
            "{}, offset {}: it was {}, and Kafka does not have it",
            ledger.named(),
            entry.offset,
            entry.outcome.word()
        ))),
    }
}

fn agree(ledger: &Ledger, entry: Option<Entry>, record: &RawRecord) -> anyhow::Result<()> {
    let place = || format!("{}, offset {}", ledger.named(), record.offset);
    match entry {
        Some(entry) if entry.offset == record.offset => {
            let is_other = entry.outcome == Outcome::Quarantined
                && entry.hash != ContentHash::of(record.value.as_deref().unwrap_or_default());
            if is_other {
                let sentence = format!("{}: Kafka has other bytes than were quarantined", place());
                return Err(disagreement(sentence));
            }
            Ok(())
        }
        Some(entry) if entry.offset < record.offset => Err(disagreement(format!(
            "{}, offset {}: it was {}, and Kafka does not have it",
            ledger.named(),
            entry.offset,
            entry.outcome.word()
        ))),
        _ => Err(disagreement(format!(
            "{}: Kafka has a record there, and it was never counted",
            place()
        ))),
    }
}

fn disagreement(sentence: String) -> anyhow::Error {
    TotalsError::Disagreement(sentence).into()
}

/// The entries of a ledger, in pieces.
struct Entries {
    from: i64,
    behind: i64,
    read: VecDeque<Entry>,
}

impl Entries {
    /// From an offset on.
    fn from(offset: i64) -> Self {
        Self {
            from: offset,
            behind: offset,
            read: VecDeque::new(),
        }
    }

    async fn next(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        ledger: &Ledger,
    ) -> Result<Option<Entry>, TotalsError> {
        while self.read.is_empty() {
            let ranges = snapshot.ranges(ledger, self.behind).await?;
            let Some(last) = ranges.last() else {
                return Ok(None);
            };
            self.behind = last.next;
            let entries = ranges.into_iter().flat_map(|range| range.entries);
            self.read
                .extend(entries.filter(|entry| entry.offset >= self.from));
        }
        Ok(self.read.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger {
            position_id: 1,
            topic: "redline.rows".to_owned(),
            topic_id: "id".to_owned(),
            partition: 3,
            next_offset: 10,
            is_live: true,
        }
    }

    fn agreed(entry: Option<(i64, Outcome)>, offset: i64) -> String {
        let hash = ContentHash::of(b"bytes");
        let entry = entry.map(|(offset, outcome)| Entry {
            offset,
            outcome,
            hash,
        });
        let record = RawRecord {
            offset,
            value: Some(b"other bytes".to_vec()),
            ..RawRecord::default()
        };
        match agree(&ledger(), entry, &record) {
            Ok(()) => "agree".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_way_in_which_kafka_and_the_totals_can_disagree_is_named_with_its_offset() {
        assert_eq!(agreed(Some((7, Outcome::Accepted)), 7), "agree");
        assert_eq!(
            agreed(Some((7, Outcome::Quarantined)), 7),
            "partition 3 of redline.rows, offset 7: Kafka has other bytes than were quarantined"
        );
        assert_eq!(
            agreed(Some((6, Outcome::Duplicate)), 7),
            "partition 3 of redline.rows, offset 6: it was duplicate, and Kafka does not have it"
        );
        let never_counted =
            "partition 3 of redline.rows, offset 7: Kafka has a record there, and it was never counted";
        assert_eq!(agreed(Some((8, Outcome::Accepted)), 7), never_counted);
        assert_eq!(agreed(None, 7), never_counted);
    }

    #[test]
    fn the_result_is_told_in_words_and_as_json() {
        let recorded = Counted {
            ledgers: 12,
            ranges: 40,
            accepted: 900,
            duplicate: 90,
            quarantined: 9,
            removed: 400,
        };
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            told(recorded, 500),
            to_json(recorded, 500, None),
            to_json(recorded, 0, Some("partition 3 of redline.rows: …"))
        ));
    }
}
