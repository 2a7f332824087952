//! What a simulation is asked for.

use serde::{Deserialize, Serialize};

/// How long after a period's end changes are still in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grace {
    /// So many days.
    CalendarDays(u32),
    /// So many days that are neither of a weekend nor holidays.
    BusinessDays(u32),
}

/// How many of a thousand rows get a planted finding of each group. A group that is not 0 plants each of its
/// scenarios at least once, as far as there are rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindingRates {
    /// Changes after the end, at its edge, or after a close.
    pub retroactive: u32,
    /// Changes of completed rows.
    pub completed: u32,
    /// Rows un-completed, moved to another period, in another currency.
    pub lock: u32,
    /// Rows created late.
    pub late: u32,
    /// Rows deleted.
    pub deleted: u32,
    /// Rows deleted and created again elsewhere.
    pub moved: u32,
    /// Editors who may not, or who are unknown.
    pub editors: u32,
    /// Violated rules and contract prices.
    pub rules: u32,
    /// Values that come back.
    pub reversions: u32,
    /// Several contents at one version.
    pub conflicts: u32,
    /// Approvals that fit, and those that must not.
    pub approvals: u32,
}

impl Default for FindingRates {
    fn default() -> Self {
        Self::each(20)
    }
}

impl FindingRates {
    /// The same rate for all.
    pub fn each(rate: u32) -> Self {
        Self {
            retroactive: rate,
            completed: rate,
            lock: rate,
            late: rate,
            deleted: rate,
            moved: rate,
            editors: rate,
            rules: rate,
            reversions: rate,
            conflicts: rate,
            approvals: rate,
        }
    }
}

/// What a simulation is asked for. The same settings always make the same sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SimulationSettings {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Rows of the sheet. Rows that are planted as the target of a move are made besides them.
    pub rows: usize,
    /// Weeks over which the rows are spread.
    pub weeks: u32,
    /// About so many versions has a row of the background.
    pub versions: u32,
    /// Grace of the source; when it is absent even seeds have none and odd ones two business days.
    pub grace: Option<Grace>,
    /// How many of a thousand rows of the background have a life without order, in which anything may happen.
    pub restless: u32,
    /// How many of a thousand events arrive once more.
    pub duplicates: u32,
    /// How many of a thousand versions are seen long after they were made, hence after later ones.
    pub late_versions: u32,
    /// How often findings are planted.
    pub findings: FindingRates,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            rows: 10_184,
            weeks: 6,
            versions: 6,
            grace: None,
            restless: 250,
            duplicates: 30,
            late_versions: 40,
            findings: FindingRates::default(),
        }
    }
}

impl SimulationSettings {
    /// The grace in force.
    pub fn grace(&self) -> Grace {
        self.grace.unwrap_or(match self.seed % 2 {
            0 => Grace::CalendarDays(0),
            _ => Grace::BusinessDays(2),
        })
    }
}
