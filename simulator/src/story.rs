//! One row's life, told version by version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::amount::Amount;
use crate::days::{days_after, seconds_after, utc};
use crate::event::{Cell, CellEdit, Content, Event, Op};
use crate::random::Random;
use crate::rulebook::{FOREMAN, PRICE, QUANTITY, TOTAL};

/// Editors whom the rules allow by pattern, some in another case than the pattern.
pub(crate) const ALLOWED: [&str; 5] = [
    "ann@example.com",
    "ben@example.com",
    "Cleo@Example.com",
    "api-billing",
    "API-Billing",
];
/// People who lead the work.
pub(crate) const FOREMEN: [&str; 5] = ["B. Lee", "M. Óscar", "Дана К.", "T. \"Tex\" Wu", "J. O'Neil"];
const COMPANIES: [&str; 2] = ["Northline LLC", "Northline Europe GmbH"];

/// A row that is being told.
pub(crate) struct Story {
    /// How the row stands. The next version is made from it.
    pub now: Content,
    /// The last day of the week to which the row belongs.
    pub week_end: Date,
    /// What was said.
    pub events: Vec<Event>,
    pub random: Random,
    /// How many of a thousand versions are seen late.
    late_versions: u32,
}

impl Story {
    /// A row of the sheet that nobody has seen yet.
    pub fn new(index: usize, week_end: Date, late_versions: u32, mut random: Random) -> Self {
        let currency = match random.below(20) {
            0 => None,
            1 | 2 => Some("GBP"),
            3..=5 => Some("EUR"),
            _ => Some("USD"),
        };
        let texts = [
            ("Work Order", format!("WO-{:05}", index / 4)),
            ("Task", format!("T-{}", index % 4 + 1)),
            ("Period End", week_end.strftime("%m/%d/%Y").to_string()),
        ];
        let mut columns: BTreeMap<String, Cell> = texts
            .into_iter()
            .map(|(name, text)| (name.to_string(), Cell::Text(text)))
            .collect();
        columns.insert(FOREMAN.to_string(), Cell::text(*random.pick(&FOREMEN)));
        let row_id = format!("R-{index:05}");
        let now = Content {
            version: 0,
            op: Op::Create,
            modified_at: None,
            modified_by: None,
            period_end: Some(week_end),
            completed: false,
            currency: currency.map(str::to_string),
            link: random
                .in_thousand(800)
                .then(|| format!("https://sheets.example.com/r/{row_id}")),
            legal_entity: random
                .in_thousand(700)
                .then(|| random.pick(&COMPANIES).to_string()),
            columns,
            column_edits: BTreeMap::new(),
            row_id,
        };
        let mut story = Self {
            now,
            week_end,
            events: Vec::new(),
            random,
            late_versions,
        };
        let quantity = Amount::whole(story.random.between(1, 40));
        let price = Amount::cents(story.random.between(80, 800) * 25);
        story.set(QUANTITY, Cell::Number(quantity));
        story.set(PRICE, Cell::Number(price));
        story.retotal();
        story
    }

    /// Puts a value into a cell.
    pub fn set(&mut self, column: &str, cell: Cell) {
        self.now.columns.insert(column.to_string(), cell);
    }

    /// The amount in a cell; zero when it holds none.
    pub fn amount(&self, column: &str) -> Amount {
        match self.now.columns.get(column) {
            Some(Cell::Number(amount)) => *amount,
            Some(Cell::Text(text)) => Amount::parse(text).unwrap_or(Amount::ZERO),
            _ => Amount::ZERO,
        }
    }

    /// Adds to an amount.
    pub fn add(&mut self, column: &str, more: Amount) {
        let sum = self.amount(column).plus(more).unwrap_or(Amount::ZERO);
        self.set(column, Cell::Number(sum));
    }

    /// Makes the total what quantity and price say.
    pub fn retotal(&mut self) {
        let total = self
            .amount(QUANTITY)
            .times(self.amount(PRICE))
            .unwrap_or(Amount::ZERO);
        // A number of more digits would not survive as a double in every producer; it is sent as text.
        let text = total.to_string();
        self.set(
            TOTAL,
            if text.len() > 15 {
                Cell::Text(text)
            } else {
                Cell::Number(total)
            },
        );
    }

    /// Says that somebody edited this cell at that time, in the version that comes next.
    pub fn cell_edit(&mut self, column: &str, at: Timestamp, by: &str) {
        let edit = CellEdit {
            modified_at: at,
            modified_by: by.to_string(),
        };
        self.now.column_edits.insert(column.to_string(), edit);
    }

    /// The next version, as it is now. Its number is returned.
    pub fn say(&mut self, op: Op, at: Timestamp, by: &str) -> u64 {
        let lag = if self.random.in_thousand(self.late_versions) {
            self.random.between(86_400, 10 * 86_400)
        } else {
            self.random.between(1, 600)
        };
        self.say_as(op, Some(at), Some(by), seconds_after(at, lag))
    }

    /// The next version, of which the source may not know when it was made, or by whom.
    pub fn say_as(
        &mut self,
        op: Op,
        modified_at: Option<Timestamp>,
        by: Option<&str>,
        observed_at: Timestamp,
    ) -> u64 {
        let gap = if self.random.in_thousand(50) {
            self.random.between(1, 4)
        } else {
            0
        };
        self.now.version += 1 + gap.unsigned_abs();
        self.now.op = op;
        self.now.modified_at = modified_at;
        self.now.modified_by = by.map(str::to_string);
        let wordy = self.random.in_thousand(30);
        self.events.push(Event {
            content: self.now.clone(),
            observed_at,
            wordy,
        });
        self.now.column_edits.clear();
        self.now.version
    }

    /// An update.
    pub fn update(&mut self, at: Timestamp, by: &str) -> u64 {
        self.say(Op::Update, at, by)
    }

    /// A delete, which says no more than its row.
    pub fn delete(&mut self, at: Timestamp, by: &str) -> u64 {
        let before = self.now.clone();
        self.now.columns.clear();
        self.now.currency = None;
        self.now.period_end = None;
        self.now.link = None;
        self.now.legal_entity = None;
        self.now.completed = false;
        let version = self.say(Op::Delete, at, by);
        self.now = Content { version, ..before };
        version
    }

    /// A copy of what was said last, seen at another time.
    pub fn seen_again(&mut self, observed_at: Timestamp) {
        if let Some(last) = self.events.last() {
            let copy = Event {
                observed_at,
                wordy: !last.wordy,
                ..last.clone()
            };
            self.events.push(copy);
        }
    }

    /// An instant of a day around the week's end, by its seconds since midnight in UTC.
    pub fn day(&self, days_after_end: i64, seconds: i64) -> Timestamp {
        utc(days_after(self.week_end, days_after_end), seconds)
    }

    /// Created on Monday and edited until Wednesday, by people who may, within the rules: the quantity only grows, so
    /// that nothing reverts.
    pub fn calm(&mut self, edits: i64) {
        let by = *self.random.pick(&ALLOWED);
        let op = if self.random.in_thousand(800) {
            Op::Create
        } else {
            Op::Snapshot
        };
        self.say(
            op,
            self.day(-6, 43_200 + 60 * (self.now.version.cast_signed())),
            by,
        );
        for edit in 0..edits {
            self.add(QUANTITY, Amount::whole(1));
            self.retotal();
            let seconds = 45_000 + 1_800 * edit + self.random.between(0, 1_700);
            let at = self.day(-5 + edit % 2, seconds + 43_000 * (edit % 2));
            let by = *self.random.pick(&ALLOWED);
            self.update(at, by);
        }
    }
}
