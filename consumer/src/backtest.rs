//! Judging recorded rows again under other rules, in memory: nothing is written.
//!
//! Every row is derived twice from its whole history, once under the facts as they are recorded and once with the
//! candidate's rules in force from an instant on. What is compared are the flags themselves, not what was recorded of
//! them, so that the rules in force never differ from themselves.

mod given;

use std::collections::{BTreeMap, HashMap, HashSet};

use redline_domain::facts::Knowledge;
use redline_domain::natural_key::{Contribution, moved};
use redline_schemas::fact::Fact;
use redline_schemas::flag::Flag;
use redline_schemas::{ContentHash, EntityKey, Timestamp};
use redline_store::sqlx::{Connection as _, PgConnection};
use redline_store::{StoreError, entities, facts, history, retention};

use crate::detect::Detection;
use crate::facts::Facts;

pub use self::given::{GiveError, Given, Passed, Reading, TooMany, backtest_given};

/// Entities that are derived at once.
const AT_ONCE: i64 = 500;
/// Examples that are kept of each group.
const EXAMPLES: usize = 3;

/// What is tried, and on which flags.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The rule file; it must be one that can be used.
    pub rules: String,
    /// First instant at which its rules are in force, and from which flags are compared.
    pub from: Timestamp,
    /// First instant at which flags are no longer compared.
    pub to: Option<Timestamp>,
}

/// How the candidate's flags compare, for one kind and risk.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Flags under the rules in force.
    pub now: u64,
    /// Flags under the candidate's.
    pub then: u64,
    /// Flags that the candidate brings.
    pub more: Group,
    /// Flags that it does not bring any more.
    pub less: Group,
    /// Flags under both whose content differs, by the risk that the candidate gives them.
    pub different: Group,
}

/// Flags of one sort.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The first few, in the order of their ids.
    pub examples: Vec<Example>,
}

/// A flag with what it is under the rules in force, where it is there under both.
#[derive(Clone, Debug)]
pub struct Example {
    /// Under the candidate's rules; of those that it does not bring any more, under the rules in force.
    pub flag: Flag,
    /// Its risk under the rules in force, where that is another.
    pub was: Option<String>,
}

impl Group {
    fn add(&mut self, flag: &Flag, was: Option<&Flag>) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Example {
                flag: flag.clone(),
                was: was.map(|was| was.risk.clone()).filter(|risk| *risk != flag.risk),
            });
        }
    }
}

/// The comparison, by kind and risk.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Rows that were judged.
    pub rows: u64,
    /// Those of them that were judged only from their horizon on, since retention removed what was before.
    pub rows_with_horizon: u64,
    /// By kind, then risk.
    pub by_kind: BTreeMap<(String, String), Compared>,
}

impl Comparison {
    /// Whether the candidate flags anything more, less or differently.
    pub fn differs(&self) -> bool {
        self.by_kind
            .values()
            .any(|compared| compared.more.count + compared.less.count + compared.different.count > 0)
    }

    fn compare(&mut self, now: &BTreeMap<String, Flag>, then: &BTreeMap<String, Flag>) {
        for (id, flag) in now {
            let compared = self.of(flag);
            compared.now += 1;
            if !then.contains_key(id) {
                compared.less.add(flag, None);
            }
        }
        for (id, flag) in then {
            let compared = self.of(flag);
            compared.then += 1;
            match now.get(id) {
                None => compared.more.add(flag, None),
                Some(old) if content(old) != content(flag) => compared.different.add(flag, Some(old)),
                Some(_) => {}
            }
        }
    }

    fn of(&mut self, flag: &Flag) -> &mut Compared {
        self.by_kind
            .entry((flag.kind.clone(), flag.risk.clone()))
            .or_default()
    }
}

/// What a person would call the same flag: its content without the rules' hash and what the rule compared.
fn content(flag: &Flag) -> String {
    let flag = Flag {
        rules_hash: String::new(),
        details: BTreeMap::new(),
        ..flag.clone()
    };
    flag.canonical()
}

/// Everything of one of the two sides that is not compared yet.
#[derive(Default)]
struct Side {
    knowledge: Knowledge,
    contributions: HashMap<String, Vec<(String, Contribution)>>,
}

impl Side {
    /// The flags of some rows that follow from each row alone; their contributions are kept.
    fn finish(&mut self, detection: Detection<'_>) -> Vec<Flag> {
        let mut flags = Vec::new();
        for update in detection.finish().entities {
            for contribution in update.contributions {
                self.contributions
                    .entry(contribution.state_key.clone())
                    .or_default()
                    .push((update.key.entity_id.clone(), contribution));
            }
            flags.extend(update.flags);
        }
        flags
    }

    /// The flags that follow from what several rows have in common.
    fn moved(&self) -> Vec<Flag> {
        self.contributions
            .values()
            .flat_map(|contributions| moved(contributions))
            .collect()
    }
}

/// Judges all recorded rows under both; `progress` hears how many were judged.
///
/// # Errors
/// When Postgres cannot be reached, the record is damaged, or the candidate's rules cannot be used.
pub async fn backtest(
    connection: &mut PgConnection,
    candidate: &Candidate,
    mut progress: impl FnMut(u64),
) -> Result<Comparison, StoreError> {
    let mut transaction = connection.begin().await?;
    redline_store::read_only(&mut transaction).await?;
    retention::hold_off(&mut transaction).await?;
    let mut known = Facts::default();
    known.refresh(&mut transaction).await?;
    let mut now = Side {
        knowledge: known.knowledge.clone(),
        ..Side::default()
    };
    let mut then = Side {
        knowledge: with_candidate(&mut transaction, candidate).await?,
        ..Side::default()
    };
    let mut comparison = Comparison::default();
    let mut last = 0;
    loop {
        let rows = entities::rows_after(&mut transaction, last, AT_ONCE).await?;
        let Some((number, _)) = rows.last() else { break };
        last = *number;
        let keys: Vec<&EntityKey> = rows.iter().map(|(_, key)| key).collect();
        let recorded = entities::load(&mut transaction, &keys).await?;
        let approvals = known.approvals(&mut transaction, keys.into_iter()).await?;
        let (now_known, then_known) = (now.knowledge.clone(), then.knowledge.clone());
        let mut first = Detection::again(recorded.clone(), approvals.clone(), &now_known);
        let mut second = Detection::again(recorded, approvals, &then_known);
        let numbers: Vec<i64> = rows.iter().map(|(number, _)| *number).collect();
        for horizon in retention::horizons(&mut transaction, &numbers).await? {
            first.recall_horizon(horizon.clone(), &HashSet::new());
            second.recall_horizon(horizon, &HashSet::new());
            comparison.rows_with_horizon += 1;
        }
        history::recall(&mut transaction, &numbers, |key, standing| {
            first.recall(key, standing.clone());
            second.recall(key, standing);
        })
        .await?;
        let first = within(candidate, now.finish(first));
        comparison.compare(&first, &within(candidate, then.finish(second)));
        comparison.rows += rows.len() as u64;
        progress(comparison.rows);
    }
    comparison.compare(&within(candidate, now.moved()), &within(candidate, then.moved()));
    transaction.rollback().await?;
    Ok(comparison)
}

/// The flags whose time is compared, by their ids.
fn within(candidate: &Candidate, flags: Vec<Flag>) -> BTreeMap<String, Flag> {
    let is_within = |time: Timestamp| time >= candidate.from && candidate.to.is_none_or(|to| time < to);
    flags
        .into_iter()
        .filter(|flag| flag.modified_at.is_none_or(is_within))
        .map(|flag| (flag.flag_id.clone(), flag))
        .collect()
}

/// The recorded facts, but for the rules that take effect at the candidate's instant or later, and with its own.
async fn with_candidate(
    connection: &mut PgConnection,
    candidate: &Candidate,
) -> Result<Knowledge, StoreError> {
    let mut standing: BTreeMap<(String, String), (Fact, ContentHash)> = BTreeMap::new();
    for (fact, hash) in facts::since(connection, 0).await?.wide {
        let id = (fact.kind.clone(), fact.id.clone());
        match standing.get(&id) {
            Some((old, old_hash)) if (old.version, *old_hash) > (fact.version, hash) => {}
            _ => drop(standing.insert(id, (fact, hash))),
        }
    }
    standing.retain(|(kind, _), (fact, _)| kind != "rules" || fact.effective_at < candidate.from);
    let rules = Fact::rules(
        "candidate",
        0,
        candidate.from,
        "redline rules backtest",
        &candidate.rules,
    );
    let hash = ContentHash::of(rules.canonical().as_bytes());
    let facts = standing.into_values().chain([(rules, hash)]);
    let mut knowledge = Knowledge::default();
    for (fact, hash) in facts {
        knowledge
            .take(&fact, hash)
            .map_err(|error| StoreError::Refused(format!("the fact {}: {error}", fact.key())))?;
    }
    Ok(knowledge)
}
