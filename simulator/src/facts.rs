//! The facts of the whole sheet: holidays, editors, periods closed and opened again, contract prices.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::amount::Amount;
use crate::days::{FIRST_WEEK_END, days_after, utc};
use crate::event::Cell;
use crate::fact::{Fact, Reference, Statement};
use crate::rulebook::{CONTRACT_TABLE, EDITORS_TABLE, HOLIDAYS_TABLE};
use crate::settings::Grace;

/// Days that are holidays in the end.
const HOLIDAYS: [(i16, i8, i8); 2] = [(2026, 2, 16), (2026, 3, 10)];

/// Whether a day is a holiday in the end.
pub(crate) fn is_holiday(day: Date) -> bool {
    HOLIDAYS
        .iter()
        .any(|(year, month, of_month)| (day.year(), day.month(), day.day()) == (*year, *month, *of_month))
}

/// So many days after a week's end no grace reaches any more: days of grace that are business days take a weekend for
/// every five, and the holidays.
pub(crate) fn late_day(grace: Grace) -> i64 {
    match grace {
        Grace::CalendarDays(days) => i64::from(days) + 3,
        Grace::BusinessDays(days) => i64::from(days) + 2 * (i64::from(days) / 5 + 1) + 4,
    }
}

/// The year before all events, from which on what was always so counts.
pub(crate) fn always() -> Timestamp {
    utc(jiff::civil::date(1900, 1, 1), 0)
}

/// Makes facts with ids of their own.
pub(crate) struct FactMaker {
    next: u64,
}

impl FactMaker {
    pub fn new() -> Self {
        Self { next: 1 }
    }

    /// An id that nothing has yet.
    pub fn id(&mut self, prefix: &str) -> String {
        let id = format!("{prefix}-{:06}", self.next);
        self.next += 1;
        id
    }

    /// A row of a reference table, as `reference load` says it: effective from its validity on.
    pub fn reference(
        &mut self,
        table: &str,
        key: &str,
        price: Option<Amount>,
        valid: (Option<Timestamp>, Option<Timestamp>),
    ) -> Fact {
        let values: BTreeMap<String, Cell> = price
            .map(|price| ("price".to_string(), Cell::Number(price)))
            .into_iter()
            .collect();
        let (valid_from, valid_until) = valid;
        Fact {
            id: self.id("REF"),
            version: 0,
            effective_at: valid_from.unwrap_or_else(always),
            statement: Statement::Reference(Reference {
                table: table.to_string(),
                key: key.to_string(),
                values,
                valid_from,
                valid_until,
            }),
        }
    }

    /// An agreed price for the row with these columns.
    pub fn contract(
        &mut self,
        columns: &BTreeMap<String, Cell>,
        price: Amount,
        valid: (Option<Timestamp>, Option<Timestamp>),
    ) -> Fact {
        let key: Vec<serde_json::Value> = crate::rulebook::CONTRACT_KEY
            .iter()
            .map(|column| columns.get(*column).map_or(serde_json::Value::Null, Cell::json))
            .collect();
        self.reference(
            CONTRACT_TABLE,
            &serde_json::Value::from(key).to_string(),
            Some(price),
            valid,
        )
    }

    /// What is known about the whole sheet.
    pub fn of_the_sheet(&mut self, weeks: u32, grace: Grace) -> Vec<Fact> {
        let mut facts = self.holidays();
        facts.extend(self.editors());
        for week in 0..weeks {
            let end = days_after(FIRST_WEEK_END, 7 * i64::from(week));
            facts.extend(periods(end, late_day(grace), week % 2 == 0));
        }
        facts
    }

    fn holidays(&mut self) -> Vec<Fact> {
        let mut facts = vec![self.reference(HOLIDAYS_TABLE, "2026-02-16", None, (None, None))];
        // Told for the wrong Tuesday, then put right under the same id.
        let wrong = self.reference(HOLIDAYS_TABLE, "2026-03-03", None, (None, None));
        let mut right = self.reference(HOLIDAYS_TABLE, "2026-03-10", None, (None, None));
        right.id.clone_from(&wrong.id);
        right.version = 1;
        facts.extend([wrong, right]);
        // Was a holiday once.
        let until = utc(jiff::civil::date(2020, 1, 1), 0);
        facts.push(self.reference(HOLIDAYS_TABLE, "2026-02-24", None, (None, Some(until))));
        facts
    }

    fn editors(&mut self) -> Vec<Fact> {
        let day = |days| utc(days_after(FIRST_WEEK_END, days), 0);
        // Contractors may edit for ever, the agency only until the end of the second week.
        vec![
            self.reference(EDITORS_TABLE, "contractor-*@partners.test", None, (None, None)),
            self.reference(
                EDITORS_TABLE,
                "temp@agency.test",
                None,
                (Some(day(-30)), Some(day(8))),
            ),
            // A row that says less and later does not take away what another row about the same key says earlier:
            // of the valid ones the latest counts, and it is enough that there is one.
            self.reference(
                EDITORS_TABLE,
                "contractor-*@partners.test",
                None,
                (Some(day(1)), Some(day(2))),
            ),
        ]
    }
}

/// Closed for an hour on the Friday before the end, closed and opened at one instant later that day, and closed for good
/// when all is late. A close on Tuesday was said once and replaced.
fn periods(end: Date, late_day: i64, opened_by_greater_id: bool) -> Vec<Fact> {
    let friday = days_after(end, -2);
    let (fourth, fifth) = if opened_by_greater_id {
        (true, false)
    } else {
        (false, true)
    };
    let said = [
        (1, 0, utc(friday, 12 * 3_600), true),
        (2, 0, utc(friday, 13 * 3_600), false),
        (3, 0, utc(days_after(end, -5), 0), true),
        (3, 1, utc(days_after(end, late_day + 5), 12 * 3_600), true),
        (4, 0, utc(friday, 15 * 3_600), fourth),
        (5, 0, utc(friday, 15 * 3_600), fifth),
        (6, 0, utc(friday, 16 * 3_600), false),
    ];
    said.into_iter()
        .map(|(number, version, effective_at, closed)| Fact {
            id: format!("P-{end}-{number}"),
            version,
            effective_at,
            statement: Statement::Period { end, closed },
        })
        .collect()
}
