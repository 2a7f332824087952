//! Findings that are made on purpose, each in a row of its own that is calm otherwise, and next to them what looks like
//! a finding and is none.

mod approvals;
mod contents;
mod lives;
mod moves;
mod people;
mod rules;
mod timing;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::amount::Amount;
use crate::days::{Zone, days_after, is_weekend, seconds_after};
use crate::event::{Cell, Event};
use crate::fact::Fact;
use crate::facts::{FactMaker, is_holiday};
use crate::rulebook::{QUANTITY, TIME_ZONE};
use crate::settings::{FindingRates, Grace, SimulationSettings};
use crate::story::Story;
use crate::truth::{FlagKey, Planted};

/// What a scenario is about. Each group has a rate of its own in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Retroactive,
    Completed,
    Lock,
    Late,
    Deleted,
    Moved,
    Editors,
    Rules,
    Reversions,
    Conflicts,
    Approvals,
}

impl Group {
    fn rate(self, rates: &FindingRates) -> u32 {
        match self {
            Self::Retroactive => rates.retroactive,
            Self::Completed => rates.completed,
            Self::Lock => rates.lock,
            Self::Late => rates.late,
            Self::Deleted => rates.deleted,
            Self::Moved => rates.moved,
            Self::Editors => rates.editors,
            Self::Rules => rates.rules,
            Self::Reversions => rates.reversions,
            Self::Conflicts => rates.conflicts,
            Self::Approvals => rates.approvals,
        }
    }
}

/// A way to make a finding: its name, what it is about, and how it is made.
pub(crate) type Scenario = (&'static str, Group, fn(&mut Scene<'_>));

/// Which scenario each of the first rows gets.
pub(crate) fn assignment(settings: &SimulationSettings) -> Vec<Scenario> {
    let all: Vec<Scenario> = [
        timing::SCENARIOS,
        lives::SCENARIOS,
        moves::SCENARIOS,
        people::SCENARIOS,
        rules::SCENARIOS,
        contents::SCENARIOS,
        approvals::SCENARIOS,
    ]
    .concat();
    let mut wanted: Vec<(usize, Scenario)> = Vec::new();
    for scenario in &all {
        let rate = usize::try_from(scenario.1.rate(&settings.findings)).unwrap_or(usize::MAX);
        let in_group = all.iter().filter(|other| other.1 == scenario.1).count().max(1);
        if rate > 0 {
            let rows = settings.rows.saturating_mul(rate) / 1000 / in_group;
            wanted.push((rows.max(1), *scenario));
        }
    }
    // Round by round, so that a small sheet has one of each before it has two of any.
    let mut rows = Vec::new();
    let rounds = wanted.iter().map(|(count, _)| *count).max().unwrap_or(0);
    for round in 0..rounds {
        for (count, scenario) in &wanted {
            if round < *count && rows.len() < settings.rows {
                rows.push(*scenario);
            }
        }
    }
    rows
}

/// A calm row on which a finding is made.
pub(crate) struct Scene<'a> {
    pub story: Story,
    /// A second row, for what takes two.
    pub other: Story,
    pub facts: &'a mut FactMaker,
    pub made: Vec<Fact>,
    pub found: Planted,
    grace: Grace,
    zone: Zone,
    steps: i64,
}

impl<'a> Scene<'a> {
    pub fn new(name: &str, story: Story, other: Story, grace: Grace, facts: &'a mut FactMaker) -> Self {
        let found = Planted {
            scenario: name.to_string(),
            expected: Vec::new(),
            absent: Vec::new(),
            authorised: Vec::new(),
        };
        Self {
            story,
            other,
            facts,
            made: Vec::new(),
            found,
            grace,
            zone: Zone::named(TIME_ZONE),
            steps: 0,
        }
    }

    /// All that was said, and what has to be seen of it.
    pub fn end(self) -> (Vec<Event>, Vec<Fact>, Planted) {
        let mut events = self.story.events;
        events.extend(self.other.events);
        (events, self.made, self.found)
    }

    /// The next instant of the Thursday before the week's end.
    pub fn in_time(&mut self) -> Timestamp {
        self.steps += 1;
        self.story.day(-3, 43_200 + 600 * self.steps)
    }

    /// The next instant of a day that no grace reaches.
    pub fn late(&mut self) -> Timestamp {
        self.steps += 1;
        let day = crate::facts::late_day(self.grace);
        self.story.day(day, 43_200 + 600 * self.steps)
    }

    /// The first instant at which a change is late for this end.
    pub fn edge(&self, end: Date) -> Timestamp {
        let mut last = end;
        match self.grace {
            Grace::CalendarDays(days) => last = days_after(end, i64::from(days)),
            Grace::BusinessDays(days) => {
                for _ in 0..days {
                    last = days_after(last, 1);
                    while is_weekend(last) || is_holiday(last) {
                        last = days_after(last, 1);
                    }
                }
            }
        }
        self.zone.midnight(days_after(last, 1))
    }

    /// The first instant after the end itself.
    pub fn end_edge(&self, end: Date) -> Timestamp {
        self.zone.midnight(days_after(end, 1))
    }

    /// The next version has one thing more.
    pub fn grow(&mut self) {
        self.story.add(QUANTITY, Amount::whole(1));
        self.story.retotal();
    }

    /// One thing more, by somebody who may.
    pub fn grown(&mut self, at: Timestamp) -> u64 {
        self.grow();
        self.story.update(at, "ann@example.com")
    }

    /// A cell gets this value, by somebody who may.
    pub fn set(&mut self, column: &str, cell: Cell, at: Timestamp) -> u64 {
        self.story.set(column, cell);
        self.story.update(at, "ann@example.com")
    }

    /// This flag has to stand.
    pub fn expect(&mut self, kind: &str, version: u64, column: Option<&str>) {
        self.found
            .expected
            .push(FlagKey::new(kind, &self.story.now.row_id, version, column));
    }

    /// This flag must not stand.
    pub fn absent(&mut self, kind: &str, version: u64, column: Option<&str>) {
        self.found
            .absent
            .push(FlagKey::new(kind, &self.story.now.row_id, version, column));
    }

    /// This change is allowed by an approval.
    pub fn authorised(&mut self, version: u64, column: &str) {
        self.found
            .authorised
            .push((self.story.now.row_id.clone(), version, column.to_string()));
    }

    /// An hour before.
    pub fn hour_before(at: Timestamp) -> Timestamp {
        seconds_after(at, -3_600)
    }
}
