//! Promise 5, attacked: any order, duplication and split of a random set of versions and facts, over any batches and
//! partitions, ends in the same changes and standing flags as the sorted one after all facts. Promise 3 beside it: every
//! record has one outcome, and a content is accepted once.
//!
//! The store is a stand-in in memory that does what the recording transaction does; everything else is the
//! worker's own code.

#![allow(clippy::expect_used, reason = "a test says what it expects")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use redline_consumer::batch::{Assigned, Batch, Body, Decoded, Part, RawRecord, Sighting};
use redline_consumer::detect::Detection;
use redline_domain::approval::Approval;
use redline_domain::change::Change;
use redline_domain::entity::Standing;
use redline_domain::facts::Knowledge;
use redline_domain::finding::{Ledger, Place};
use redline_domain::natural_key::{Contribution, moved};
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, EntityKey, Event, EventKind, Timestamp};
use redline_store::entities::Entity;
use redline_store::record::{EntityUpdate, Outcome};

const RULES: &str = r#"
[sources.billing]
amount = "Total"
natural_key = ["Price"]
editors = ["*@example.com"]
[sources.billing.tracked]
"Quantity" = { type = "amount", unit = "Price" }
"Total" = { type = "amount" }
[sources.billing.thresholds]
USD = { medium = "2", high = "4" }
"#;

fn knowledge() -> Knowledge {
    let mut knowledge = Knowledge::default();
    let rules = Fact::rules("rules", 0, Timestamp::FIRST, "test", RULES);
    knowledge
        .take(&rules, ContentHash::of(RULES.as_bytes()))
        .expect("rules");
    knowledge
}

/// One random version of one of a few rows.
#[derive(Clone, Debug)]
struct Version {
    row: u8,
    version: u8,
    op: u8,
    quantity: u8,
    total: u8,
    modified_day: Option<u8>,
    observed_day: u8,
    euro: bool,
    completed: bool,
    period_end: Option<u8>,
    editor: Option<bool>,
}

impl Version {
    fn event(&self) -> Event {
        let op = ["update", "update", "update", "create", "delete"][usize::from(self.op)];
        let modified = self.modified_day.map_or_else(String::new, |day| {
            format!(r#","modified_at":"2026-03-{day:02}T12:00:00Z""#)
        });
        let currency = if self.euro { "EUR" } else { "USD" };
        let period = self
            .period_end
            .map_or_else(String::new, |day| format!(r#","period_end":"2026-03-{day:02}""#));
        let editor = self.editor.map_or_else(String::new, |known| {
            let editor = if known {
                "ann@example.com"
            } else {
                "eve@elsewhere.org"
            };
            format!(r#","modified_by":"{editor}""#)
        });
        let json = format!(
            r#"{{"source":"billing","row_id":"R-{}","version":{},"op":"{op}","observed_at":"2026-03-{:02}T18:00:00Z","completed":{},"currency":"{currency}","columns":{{"Quantity":{},"Total":"{}","Price":2}}{modified}{period}{editor}}}"#,
            self.row, self.version, self.observed_day, self.completed, self.quantity, self.total
        );
        Event::from_json(EventKind::Row, &json).expect(&json)
    }
}

prop_compose! {
    fn version()(
        row in 0..3_u8, version in 0..5_u8, op in 0..5_u8, quantity in 0..3_u8, total in 0..3_u8,
        modified_day in proptest::option::of(1..9_u8), observed_day in 1..9_u8, euro in proptest::bool::weighted(0.1),
        completed in proptest::bool::weighted(0.3), period_end in proptest::option::weighted(0.9, 3..6_u8),
        editor in proptest::option::weighted(0.9, proptest::bool::weighted(0.8)),
    ) -> Version {
        Version { row, version, op, quantity, total, modified_day, observed_day, euro, completed, period_end, editor }
    }
}

/// One random fact about one of these rows, or about all of them.
#[derive(Clone, Debug)]
enum Said {
    /// A change to this quantity is allowed from a day on.
    Approval {
        id: u8,
        version: u8,
        row: u8,
        quantity: u8,
        day: u8,
    },
    /// Grace of so many days, in force from a day on.
    Rules { id: u8, version: u8, grace: u8, day: u8 },
    /// A period is closed or opened on a day.
    Period {
        id: u8,
        version: u8,
        end: u8,
        closed: bool,
        day: u8,
    },
}

impl Said {
    fn fact(&self) -> Fact {
        let json = match self {
            Self::Approval {
                id,
                version,
                row,
                quantity,
                day,
            } => format!(
                r#"{{"kind":"approval","id":"{id}","version":{version},"effective_at":"2026-03-{day:02}T00:00:00Z","recorded_by":"t","source":"billing","row_id":"R-{row}","column":"Quantity","editor":"ann@example.com","approver":"cfo","value":{quantity}}}"#
            ),
            Self::Rules {
                id,
                version,
                grace,
                day,
            } => {
                let text = RULES.replace("amount =", &format!("grace_days = {grace}\namount ="));
                let text = serde_json::json!(text);
                format!(
                    r#"{{"kind":"rules","id":"{id}","version":{version},"effective_at":"2026-03-{day:02}T00:00:00Z","recorded_by":"t","text":{text}}}"#
                )
            }
            Self::Period {
                id,
                version,
                end,
                closed,
                day,
            } => {
                let state = if *closed { "closed" } else { "open" };
                format!(
                    r#"{{"kind":"period","id":"{id}","version":{version},"effective_at":"2026-03-{day:02}T00:00:00Z","recorded_by":"t","source":"billing","period":"2026-03-{end:02}","state":"{state}"}}"#
                )
            }
        };
        match Event::from_json(EventKind::Fact, &json).expect(&json) {
            Event::Fact(fact) => *fact,
            _ => unreachable!("it is a fact"),
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let (id, version, day) = (0..2_u8, 0..3_u8, 1..9_u8);
    prop_oneof![
        (id.clone(), version.clone(), 0..3_u8, 0..3_u8, day.clone()).prop_map(
            |(id, version, row, quantity, day)| Said::Approval {
                id,
                version,
                row,
                quantity,
                day
            }
        ),
        (id.clone(), version.clone(), 0..4_u8, day.clone()).prop_map(|(id, version, grace, day)| {
            Said::Rules {
                id,
                version,
                grace,
                day,
            }
        }),
        (id, version, 3..6_u8, any::<bool>(), day).prop_map(|(id, version, end, closed, day)| Said::Period {
            id,
            version,
            end,
            closed,
            day
        }),
    ]
}

/// What arrives: an event or a fact.
#[derive(Clone)]
enum Item {
    Event(Event),
    Fact(Fact),
}

/// What the recording transaction would have written.
#[derive(Default)]
struct Store {
    knowledge: Knowledge,
    /// Every version of every approval.
    approvals: BTreeMap<(String, i64, ContentHash), Fact>,
    contributions: BTreeMap<EntityKey, Vec<Contribution>>,
    dirty: BTreeSet<EntityKey>,
    entities: HashMap<EntityKey, Entity>,
    accepted: HashMap<EntityKey, BTreeMap<(i64, ContentHash), Standing>>,
    changes: BTreeMap<(EntityKey, i64, String), Change>,
    flags: HashMap<EntityKey, BTreeMap<String, Flag>>,
    outcomes: BTreeMap<Outcome, usize>,
}

impl Store {
    /// Detects and records one batch, as the worker does.
    fn take(&mut self, batch: &Batch<Decoded>, places: &HashMap<i64, Place>) {
        let known: HashMap<EntityKey, Entity> = self.entities.clone();
        let knowledge = self.knowledge.clone();
        let mut detection = Detection::begin(
            batch,
            known.clone(),
            self.standing_approvals(),
            |_| false,
            &knowledge,
        );
        self.recall(&mut detection, &known);
        let detected = detection.finish();
        for (key, entity) in &detected.untouched {
            assert_eq!(
                entity.state, known[key].state,
                "what is put back is as it was known"
            );
        }
        let mut read = 0;
        for outcome in detected.outcomes.iter().flatten() {
            *self.outcomes.entry(outcome.outcome).or_insert(0) += 1;
            read += 1;
        }
        assert_eq!(
            read,
            batch.iter().map(|part| part.records.len()).sum::<usize>(),
            "every record has one outcome"
        );
        for update in detected.entities {
            self.write(update, places);
        }
    }

    /// Recalls the histories and flags of those that are derived again.
    fn recall(&self, detection: &mut Detection<'_>, known: &HashMap<EntityKey, Entity>) {
        let needed: BTreeSet<i64> = detection.needs_histories_of().into_iter().collect();
        for (key, _) in known.iter().filter(|(_, entity)| needed.contains(&entity.entity)) {
            for flag in self.flags.get(key).into_iter().flat_map(BTreeMap::values) {
                detection.recall_flag(key, flag.clone());
            }
            for standing in self.accepted[key].values() {
                detection.recall(key, standing.clone());
            }
        }
    }

    /// Of each approval the version that stands, by the row that it is about.
    fn standing_approvals(&self) -> HashMap<EntityKey, Vec<Approval>> {
        let mut standing: BTreeMap<&str, &Fact> = BTreeMap::new();
        for ((id, _, _), fact) in &self.approvals {
            standing.insert(id, fact);
        }
        let mut approvals: HashMap<EntityKey, Vec<Approval>> = HashMap::new();
        for fact in standing.into_values() {
            let approval = Approval::of(fact).expect("an approval");
            approvals.entry(row_of(fact)).or_default().push(approval);
        }
        approvals
    }

    /// Records a fact and marks what it touches, as the recording transaction does.
    fn take_fact(&mut self, fact: &Fact) {
        let hash = ContentHash::of(fact.canonical().as_bytes());
        let touched = self.knowledge.take(fact, hash).expect("it can be used");
        for (source, since) in touched {
            let touched = self.entities.iter().filter(|(key, entity)| {
                key.source == source && entity.state.reach.is_none_or(|reach| reach >= since)
            });
            self.dirty.extend(touched.map(|(key, _)| key.clone()));
        }
        if fact.kind == "approval" {
            self.approvals
                .insert((fact.id.clone(), fact.version, hash), fact.clone());
            let about = self.approvals.values().filter(|other| other.id == fact.id);
            self.dirty.extend(about.map(row_of));
        }
    }

    /// Does the deriver's work.
    fn derive(&mut self, places: &HashMap<i64, Place>) {
        let mut known = self.entities.clone();
        let dirty = std::mem::take(&mut self.dirty);
        known.retain(|key, _| dirty.contains(key));
        let knowledge = self.knowledge.clone();
        let mut detection = Detection::again(known.clone(), self.standing_approvals(), &knowledge);
        self.recall(&mut detection, &known);
        for update in detection.finish().entities {
            self.write(update, places);
        }
    }

    /// The flags of what rows have in common.
    fn moved(&self) -> Vec<Flag> {
        let mut keys: BTreeMap<&str, Vec<(String, Contribution)>> = BTreeMap::new();
        for (row, contributions) in &self.contributions {
            for contribution in contributions {
                let one = (row.entity_id.clone(), contribution.clone());
                keys.entry(&contribution.state_key).or_default().push(one);
            }
        }
        keys.values()
            .flat_map(|contributions| moved(contributions))
            .collect()
    }

    fn write(&mut self, update: EntityUpdate, places: &HashMap<i64, Place>) {
        let key = update.key.clone();
        let contributions = self.contributions.entry(key.clone()).or_default();
        if update.derived_again {
            contributions.clear();
        }
        contributions.extend(update.contributions);
        let number = i64::try_from(self.entities.len()).expect("few entities");
        let recorded = self.entities.get(&key);
        assert_eq!(update.entity, recorded.map(|entity| entity.entity));
        assert_eq!(update.revision, recorded.map_or(0, |entity| entity.revision));
        let entity = Entity {
            entity: update.entity.unwrap_or(number),
            revision: update.revision + 1,
            state: update.state,
        };
        self.entities.insert(key.clone(), entity);
        let contents = self.accepted.entry(key.clone()).or_default();
        for version in update.accepted {
            let event = Event::from_canonical(key.kind, &version.content, version.least_observed_at)
                .expect("content");
            let standing = Standing {
                event,
                hash: version.hash,
                place: places[&version.offset].clone(),
                hashes: vec![version.hash],
            };
            assert!(
                contents
                    .insert((version.version, version.hash), standing)
                    .is_none(),
                "accepted twice"
            );
        }
        for (version, hash, observed_at) in update.observed_earlier {
            let standing = contents.get_mut(&(version, hash)).expect("it was accepted");
            let Event::Row(row) = &mut standing.event else {
                continue;
            };
            row.observed_at = row.observed_at.min(observed_at);
        }
        if update.derived_again {
            self.changes.retain(|(owner, _, _), _| *owner != key);
        }
        for change in update.changes {
            let id = (key.clone(), change.version, change.column.clone());
            assert!(
                self.changes.insert(id, change).is_none(),
                "a change was written twice"
            );
        }
        let flags = self.flags.entry(key).or_default();
        for flag in update.flags {
            let before = flags.get(&flag.flag_id).map_or(0, |old| old.revision);
            assert_eq!(flag.revision, before + 1, "revisions are contiguous");
            flags.insert(flag.flag_id.clone(), flag);
        }
    }

    /// Changes and the content of standing flags, which no order may alter.
    fn result(&self) -> (Vec<String>, BTreeSet<String>) {
        let changes = self
            .changes
            .iter()
            .map(|(id, change)| format!("{id:?} {change:?}"))
            .collect();
        let standing = self
            .flags
            .values()
            .flat_map(BTreeMap::values)
            .filter(|flag| flag.status == "standing");
        let moved = self.moved();
        (changes, standing.chain(&moved).map(Flag::canonical).collect())
    }
}

fn row_of(approval: &Fact) -> EntityKey {
    EntityKey {
        kind: EventKind::Row,
        source: approval.source.clone().expect("a source"),
        entity_id: approval.row_id.clone().expect("a row"),
    }
}

/// Records what arrives in this order, in batches of this size, spread over partitions; facts between batches. What facts
/// touch is derived again after every third batch, and in the end.
fn record(items: &[Item], batch_size: usize, partitions: usize) -> Store {
    let assigned: Vec<Arc<Assigned>> = (0..partitions)
        .map(|partition| {
            let partition = i32::try_from(partition).expect("few partitions");
            let ledger = Ledger {
                topic: "redline.rows".into(),
                incarnation: "id".into(),
                partition,
            };
            Arc::new(Assigned::new(partition, ledger, "id".into(), EventKind::Row))
        })
        .collect();
    let mut store = Store {
        knowledge: knowledge(),
        ..Store::default()
    };
    let mut places = HashMap::new();
    for (batch_index, chunk) in items.chunks(batch_size).enumerate() {
        let mut parts: Vec<Part<Decoded>> = assigned
            .iter()
            .map(|assigned| Part {
                assigned: Arc::clone(assigned),
                from: 0,
                to: 0,
                records: Vec::new(),
            })
            .collect();
        for (index, item) in chunk.iter().enumerate() {
            let event = match item {
                Item::Event(event) => event,
                Item::Fact(fact) => {
                    store.take_fact(fact);
                    continue;
                }
            };
            let offset = i64::try_from(batch_index * batch_size + index).expect("few events");
            // The same key comes in any partition, as it does with foreign producers.
            let part = &mut parts[(index * 7 + batch_index) % partitions];
            let content = event.canonical();
            let hash = ContentHash::of(content.as_bytes());
            places.insert(
                offset,
                Place {
                    ledger: Arc::clone(&part.assigned.ledger),
                    offset,
                },
            );
            let sighting = Sighting {
                raw: RawRecord::default(),
                event: event.clone(),
                key: event.entity(),
                content,
                hash,
            };
            part.records.push(Decoded {
                offset,
                kafka_timestamp: None,
                body: Body::Event(Box::new(sighting)),
            });
        }
        store.take(&parts, &places);
        // The batch was judged after the facts that came within it, or before them: the worker's generation sees to it.
        if batch_index % 3 == 2 {
            store.derive(&places);
        }
    }
    store.derive(&places);
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_order_duplication_and_split_ends_in_the_same_changes_and_flags(
        versions in proptest::collection::vec(version(), 1..25),
        facts in proptest::collection::vec(said(), 0..6),
        copies in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        seed in any::<u64>(),
        batch_size in 1..12_usize,
        partitions in 1..4_usize,
    ) {
        let mut events: Vec<Event> = versions.iter().map(Version::event).collect();
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| (event.entity(), event.version()));
        let facts: Vec<Item> = facts.iter().map(|said| Item::Fact(said.fact())).collect();
        let after_facts = |events: &[Event]| {
            let events = events.iter().cloned().map(Item::Event);
            let items: Vec<Item> = facts.iter().cloned().chain(events).collect();
            record(&items, items.len(), 1)
        };
        let expected = after_facts(&sorted);

        events.extend(copies.iter().map(|copy| copy.get(&versions).event()).collect::<Vec<_>>());
        let mut items: Vec<Item> = events.iter().cloned().map(Item::Event).chain(facts.iter().cloned()).collect();
        shuffle(&mut items, seed);
        let found = record(&items, batch_size, partitions);
        prop_assert_eq!(found.result(), expected.result());
        let undisputed = winners(&events);
        let changes = after_facts(&undisputed).result().0;
        prop_assert_eq!(found.result().0, changes, "conflicting contents leave the changes of the one that stands");

        let contents: BTreeSet<String> = events.iter().map(Event::canonical).collect();
        let outcome = |outcome| found.outcomes.get(&outcome).copied().unwrap_or(0);
        prop_assert_eq!(outcome(Outcome::Accepted), contents.len());
        prop_assert_eq!(outcome(Outcome::Accepted) + outcome(Outcome::Duplicate), events.len());
    }
}

/// Of all contents of each version the one that stands, observed when its earliest copy was: told apart here by
/// the contract's words, not by the worker's code. Sorted.
fn winners(events: &[Event]) -> Vec<Event> {
    /// Contents of one version, the one that stands last.
    type Contents = BTreeMap<(Option<Timestamp>, ContentHash), Event>;
    let mut contents: BTreeMap<(EntityKey, i64), Contents> = BTreeMap::new();
    for event in events {
        let hash = ContentHash::of(event.canonical().as_bytes());
        let versions = contents.entry((event.entity(), event.version())).or_default();
        let copy = versions
            .entry((event.modified_at(), hash))
            .or_insert_with(|| event.clone());
        if event.observed_at() < copy.observed_at() {
            *copy = event.clone();
        }
    }
    contents
        .into_values()
        .filter_map(|versions| versions.into_values().next_back())
        .collect()
}

/// Fisher and Yates, with a linear congruential generator: reproducible from the seed that a failure prints.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for last in (1..items.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(seed >> 33).unwrap_or(0) % (last + 1);
        items.swap(last, other);
    }
}
