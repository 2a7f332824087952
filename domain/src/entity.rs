//! What detection needs to know of an entity's past, and how one more version changes it.

use std::collections::BTreeMap;

use redline_schemas::flag::Flag;
use redline_schemas::row::RowEvent;
use redline_schemas::{ColumnValue, ContentHash, Event, Timestamp};

use crate::change::{Change, between, time_of};
use crate::facts::Knowledge;
use crate::finding::{Place, Subject};
use crate::natural_key::Contribution;

/// One version that stands: of several contents at one version, the one that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The event, with the least `observed_at` of its copies.
    pub event: Event,
    /// Hash of its content.
    pub hash: ContentHash,
    /// Where it was accepted.
    pub place: Place,
    /// Hashes of all contents that came under this version, sorted; at least its own.
    pub hashes: Vec<ContentHash>,
}

impl Standing {
    /// Whether this content stands before another one of the same version: the greater modification time, an
    /// absent one being the least, then the greater hash.
    pub fn stands_before(&self, other: &Self) -> bool {
        (self.event.modified_at(), self.hash) > (other.event.modified_at(), other.hash)
    }
}

/// What is known of the latest version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latest {
    /// The greatest version.
    pub version: i64,
    /// The content that stands for it.
    pub hash: ContentHash,
    /// The least `observed_at` of its copies; rows only.
    pub observed_at: Option<Timestamp>,
}

/// How an arriving version relates to what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Above the latest version: it can be applied.
    Newer,
    /// The latest version again: nothing new.
    Duplicate,
    /// Below the latest version, another content of it, or an earlier observation of it: the history decides.
    Behind,
}

/// Everything that detection needs of an entity's past: a summary of its standing versions so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntityState {
    /// The latest version; none before the first.
    pub latest: Option<Latest>,
    /// The latest version that is no delete, against which the next one is compared; rows only.
    pub baseline: Option<RowEvent>,
    /// Whether the latest version is a delete; rows only.
    pub deleted: bool,
    /// Of each tracked column that ever changed, the value before its last change.
    pub previous: BTreeMap<String, ColumnValue>,
    /// The greatest instant at which anything of the entity is judged so far: the own time of every standing version, and
    /// the times of its `column_edits`. Facts that count only after it change nothing. Rows only.
    pub reach: Option<Timestamp>,
}

/// What one version brought to light.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Changes of tracked columns, in the order of versions and column names.
    pub changes: Vec<Change>,
    /// Flags, each standing in its first revision.
    pub flags: Vec<Flag>,
    /// What the row contributes to natural keys; [`crate::natural_key::moved`] makes flags of them.
    pub contributions: Vec<Contribution>,
}

impl EntityState {
    /// How an arriving version relates to what is known.
    pub fn arrival(&self, version: i64, hash: ContentHash, observed_at: Option<Timestamp>) -> Arrival {
        match self.latest {
            None => Arrival::Newer,
            Some(latest) if version > latest.version => Arrival::Newer,
            Some(latest)
                if version == latest.version && hash == latest.hash && observed_at >= latest.observed_at =>
            {
                Arrival::Duplicate
            }
            Some(_) => Arrival::Behind,
        }
    }

    /// Applies the next standing version, which must be above the latest one, and adds what it brings to light.
    pub fn apply(&mut self, standing: Standing, knowledge: &Knowledge, findings: &mut Findings) {
        self.latest = Some(Latest {
            version: standing.event.version(),
            hash: standing.hash,
            observed_at: standing.event.observed_at(),
        });
        let Standing {
            event, place, hashes, ..
        } = standing;
        if let Event::Row(row) = event {
            self.apply_row(row, &place, &hashes, knowledge, findings);
        }
    }

    fn apply_row(
        &mut self,
        row: RowEvent,
        place: &Place,
        hashes: &[ContentHash],
        knowledge: &Knowledge,
        findings: &mut Findings,
    ) {
        let is_delete = row.op == "delete";
        // An event is judged under the rules in force at its own time.
        let (time, _) = time_of(&row);
        let edits = row.column_edits.values();
        let judged_at = edits.filter_map(|edit| edit.modified_at).chain([time]);
        self.reach = judged_at.max().max(self.reach);
        if let Some(rules) = knowledge.rules().of(&row.source, time) {
            let subject = Subject {
                before: self.baseline.as_ref(),
                after: &row,
                place,
                rules,
                knowledge,
            };
            if hashes.len() > 1 {
                findings.flags.push(subject.conflict(hashes));
            }
            if is_delete {
                subject.find_delete(self.deleted, findings);
            } else {
                subject.find_version(&mut self.previous, findings);
            }
        }
        self.deleted = is_delete;
        // A delete is passed over: the next version is compared with the one before it.
        if !is_delete {
            self.baseline = Some(row);
        }
    }
}

impl Subject<'_> {
    /// What a delete brings to light; at first sight, or of a row that is gone already, it makes nothing.
    fn find_delete(&self, is_gone: bool, findings: &mut Findings) {
        if let Some(before) = self.before.filter(|_| !is_gone) {
            findings.flags.extend(self.row_deleted());
            findings.contributions.extend(self.deleted(before));
        }
    }

    /// What a version that is no delete brings to light.
    fn find_version(&self, previous: &mut BTreeMap<String, ColumnValue>, findings: &mut Findings) {
        findings.flags.extend(self.rule_violations());
        let Some(before) = self.before else {
            findings.flags.extend(self.late_row());
            findings.contributions.extend(self.first_sight());
            return;
        };
        let changes = between(before, self.after, self.rules);
        for change in &changes {
            findings.flags.extend(self.retroactive(change));
            findings.flags.extend(self.completed(change));
            findings.flags.extend(self.unauthorized(change));
            if previous.get(&change.column) == Some(&change.after) {
                findings.flags.push(self.reversion(change));
            }
            previous.insert(change.column.clone(), change.before.clone());
        }
        findings.changes.extend(changes);
        findings.flags.extend(self.lock_changes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::finding::Ledger;
    use redline_schemas::EventKind;
    use redline_schemas::fact::Fact;

    const RULES: &str = include_str!("../../configs/rules.toml");

    fn rules() -> Knowledge {
        let mut knowledge = Knowledge::default();
        let fact = Fact::rules("rules", 0, Timestamp::FIRST, "test", RULES);
        knowledge.take(&fact, ContentHash::of(b"rules")).unwrap();
        knowledge
    }

    /// Everything that standing versions bring to light, in the order of their versions.
    fn derive(history: impl IntoIterator<Item = Standing>, rules: &Knowledge) -> (EntityState, Findings) {
        let mut state = EntityState::default();
        let mut findings = Findings::default();
        for standing in history {
            state.apply(standing, rules, &mut findings);
        }
        (state, findings)
    }

    fn version(version: i64, op: &str, quantity: &str, rest: &str) -> Standing {
        let json = format!(
            r#"{{"source":"billing","row_id":"R-1001","version":{version},"op":"{op}","observed_at":"2026-02-20T10:00:00Z","modified_by":"ann@example.com","currency":"USD","columns":{{"Quantity":{quantity},"Unit Price":95}}{rest}}}"#
        );
        let event = Event::from_json(EventKind::Row, &json).unwrap();
        let hash = ContentHash::of(event.canonical().as_bytes());
        let ledger = Ledger {
            topic: "redline.rows".into(),
            incarnation: "id".into(),
            partition: 0,
        };
        Standing {
            event,
            hash,
            place: Place {
                ledger: Arc::new(ledger),
                offset: version,
            },
            hashes: vec![hash],
        }
    }

    type Named = Vec<(i64, String)>;

    fn found(history: Vec<Standing>) -> (Named, Named) {
        let (_, findings) = derive(history, &rules());
        (
            findings
                .changes
                .into_iter()
                .map(|change| (change.version, change.column))
                .collect(),
            findings
                .flags
                .into_iter()
                .map(|flag| (flag.version, flag.kind))
                .collect(),
        )
    }

    const LATE: &str = r#","modified_at":"2026-03-02T15:00:00Z","period_end":"2026-02-22""#;

    #[test]
    fn first_sight_is_the_baseline_and_makes_no_change() {
        assert_eq!(found(vec![version(1, "update", "10", LATE)]), (vec![], vec![]));
    }

    #[test]
    fn a_change_after_the_periods_end_is_flagged_with_a_plain_sentence() {
        let (_, findings) = derive(
            [version(1, "update", "10", LATE), version(2, "update", "12", LATE)],
            &rules(),
        );
        insta::assert_snapshot!(findings.flags[0].to_json().replace(",\"", ",\n\""));
    }

    #[test]
    fn a_value_that_returns_is_a_reversion() {
        let (changes, flags) = found(vec![
            version(1, "create", "1", ""),
            version(2, "update", "2", ""),
            version(3, "update", "1.0", ""),
            version(4, "update", "3", ""),
            version(5, "update", "2", ""),
        ]);
        assert_eq!(changes.len(), 4);
        assert_eq!(
            flags,
            [(3, "reversion".to_owned())],
            "3 then 2 is new: before its last change it was 1"
        );
    }

    #[test]
    fn deletes_are_passed_over() {
        let (changes, _) = found(vec![
            version(1, "delete", "9", ""),
            version(2, "create", "1", ""),
            version(3, "delete", "5", ""),
            version(4, "create", "2", ""),
        ]);
        assert_eq!(changes, [(4, "Quantity".to_owned())]);
    }

    #[test]
    fn several_contents_of_one_version_are_a_conflict() {
        let mut standing = version(1, "create", "1", "");
        standing.hashes.push(ContentHash::of(b"another"));
        assert_eq!(found(vec![standing]).1, [(1, "conflicting_version".to_owned())]);
    }

    #[test]
    fn a_source_without_rules_makes_no_finding() {
        let (state, findings) = derive(
            [version(1, "create", "1", ""), version(2, "update", "2", "")],
            &Knowledge::default(),
        );
        assert_eq!(findings, Findings::default());
        assert_eq!(state.latest.map(|latest| latest.version), Some(2));
    }

    #[test]
    fn the_greater_modification_time_stands_and_then_the_greater_hash() {
        let unsaid = version(1, "update", "1", "");
        let early = version(1, "update", "1", r#","modified_at":"2026-01-01T00:00:00Z""#);
        let late = version(1, "update", "2", r#","modified_at":"2026-01-02T00:00:00Z""#);
        assert!(early.stands_before(&unsaid) && late.stands_before(&early) && !early.stands_before(&late));
    }
}
