//! Rows in whose life anything may happen. Nothing here is planted: only the oracle knows what follows from it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::amount::Amount;
use crate::days::{days_after, micros_after, seconds_after};
use crate::event::{Cell, Event, Op};
use crate::fact::{Approval, Fact, Statement};
use crate::rulebook::{FOREMAN, PRICE, QUANTITY, TOTAL, TRACKED};
use crate::story::{ALLOWED, FOREMEN, Story};

const ANYBODY: [&str; 8] = [
    "ann@example.com",
    "ben@example.com",
    "Cleo@Example.com",
    "api-billing",
    "contractor-7@partners.test",
    "temp@agency.test",
    "mallory@evil.test",
    "ann@example.com.evil.test",
];

/// A life without order, of about so many versions.
pub(crate) fn restless(story: &mut Story, versions: u32) {
    let first = story.random.between(-8, 3);
    let start = story.random.between(0, 86_399);
    let mut at = story.day(first, start);
    let mut deleted = false;
    if story.random.in_thousand(20) {
        // A delete of a row that nobody has seen.
        story.delete(at, "ann@example.com");
        say(story, Op::Snapshot, at);
    } else {
        let op = *story
            .random
            .pick(&[Op::Create, Op::Create, Op::Create, Op::Snapshot, Op::Update]);
        say(story, op, at);
    }
    let most = i64::from(versions) + 3;
    for _ in 0..story.random.between(i64::from(versions / 2), most) {
        // Clocks of a source may run backwards a little: order is by version.
        let step = story.random.between(-600, 150_000);
        at = micros_after(at, step * 1_000_000 + story.random.between(0, 1) * 123_450);
        if deleted {
            deleted = story.random.in_thousand(200);
            if !deleted && story.random.in_thousand(500) {
                change_something(story);
            }
            say(story, if deleted { Op::Delete } else { Op::Create }, at);
            continue;
        }
        if story.random.in_thousand(60) {
            deleted = true;
            if story.random.in_thousand(500) {
                let by = *story.random.pick(&ANYBODY);
                story.delete(at, by);
            } else {
                say(story, Op::Delete, at);
            }
            continue;
        }
        change_something(story);
        if story.random.in_thousand(150) {
            change_something(story);
        }
        say(story, Op::Update, at);
    }
}

fn change_something(story: &mut Story) {
    match story.random.below(20) {
        0..=5 => {
            let more = story.random.between(-3, 6);
            story.add(QUANTITY, Amount::whole(more));
            if story.random.in_thousand(850) {
                story.retotal();
            }
        }
        6 | 7 => {
            let more = story.random.between(-40, 60) * 25;
            story.add(PRICE, Amount::cents(more));
            story.retotal();
        }
        8 => {
            let more = story.random.between(-2_000_000, 2_000_000);
            story.add(TOTAL, Amount::cents(more));
        }
        9 | 10 => {
            let foreman = *story.random.pick(&FOREMEN);
            story.set(FOREMAN, Cell::text(foreman));
        }
        11 => {
            let column = *story.random.pick(&[QUANTITY, PRICE, TOTAL]);
            let cell = story
                .random
                .pick(&[Cell::text("N/A"), Cell::text("tbd"), Cell::Null])
                .clone();
            story.set(column, cell);
        }
        12 => {
            let column = *story.random.pick(&TRACKED);
            story.now.columns.remove(column);
        }
        13 => {
            // The same amount as text, with zeros that do not count.
            let column = *story.random.pick(&[QUANTITY, PRICE, TOTAL]);
            let text = story.amount(column).to_string();
            let zeros = if text.contains('.') { "0" } else { ".00" };
            story.set(column, Cell::text(format!("{text}{zeros}")));
        }
        14 | 15 => story.now.completed = !story.now.completed,
        16 => {
            let days = *story.random.pick(&[-7, 7, 7, 3]);
            let end = days_after(story.week_end, days);
            story.now.period_end = story.random.in_thousand(850).then_some(end);
        }
        17 => {
            let currency = *story.random.pick(&["USD", "EUR", "GBP"]);
            story.now.currency = story.random.in_thousand(900).then(|| currency.to_string());
        }
        18 => back_to_an_earlier_value(story),
        // A new version with the same content.
        _ => {}
    }
}

fn back_to_an_earlier_value(story: &mut Story) {
    let column = *story.random.pick(&TRACKED);
    let place = story.random.index(story.events.len());
    if let Some(cell) = story
        .events
        .get(place)
        .and_then(|event| event.content.columns.get(column))
    {
        let cell = cell.clone();
        story.set(column, cell);
    }
}

/// The next version, by anybody, perhaps without a time, with edits of cells, seen twice, or with two contents.
fn say(story: &mut Story, op: Op, at: Timestamp) {
    let by = if story.random.in_thousand(850) {
        *story.random.pick(&ALLOWED)
    } else {
        *story.random.pick(&ANYBODY)
    };
    if story.random.in_thousand(120) {
        let column = *story.random.pick(&TRACKED);
        let earlier = story.random.between(0, 3 * 86_400);
        let editor = *story.random.pick(&ANYBODY);
        story.cell_edit(column, seconds_after(at, -earlier), editor);
    }
    let known_time = !story.random.in_thousand(50);
    if known_time && story.random.in_thousand(970) {
        story.say(op, at, by);
    } else {
        let by = story.random.in_thousand(700).then_some(by);
        let lag = story.random.between(1, 4_000);
        story.say_as(op, known_time.then_some(at), by, seconds_after(at, lag));
    }
    if story.random.in_thousand(30) {
        let later = story.random.between(-40_000, 40_000);
        story.seen_again(seconds_after(at, later));
    }
    if story.random.in_thousand(25) {
        conflict(story);
    }
}

/// Another content at the version that was said last. It differs in `modified_at`, so that it is plain which stands.
fn conflict(story: &mut Story) {
    let Some(last) = story.events.last() else { return };
    let mut other: Event = last.clone();
    let base = other.content.modified_at.unwrap_or(other.observed_at);
    let seconds = *story.random.pick(&[-900, 900, 2_345]);
    other.content.modified_at = Some(seconds_after(base, seconds));
    if let Some(Cell::Number(total)) = other.content.columns.get(TOTAL).cloned() {
        let more = total.plus(Amount::whole(10)).unwrap_or(total);
        other
            .content
            .columns
            .insert(TOTAL.to_string(), Cell::Number(more));
    }
    other.observed_at = seconds_after(other.observed_at, 30);
    story.events.push(other);
}

/// Approvals for a restless row, which may fit something or nothing.
pub(crate) fn approvals(story: &mut Story, next_id: &mut impl FnMut(&str) -> String) -> Vec<Fact> {
    let mut facts = Vec::new();
    for _ in 0..story.random.below(3) {
        let last = story.events.len();
        let place = story.random.index(last);
        let Some(event) = story.events.get(place).cloned() else {
            continue;
        };
        let at = event.content.modified_at.unwrap_or(event.observed_at);
        let column = *story.random.pick(&TRACKED);
        let editor = event
            .content
            .modified_by
            .unwrap_or_else(|| "ann@example.com".to_string());
        let wanted = event
            .content
            .columns
            .get(column)
            .filter(|cell| **cell != Cell::Null)
            .cloned();
        let by_value = story.random.in_thousand(500);
        let early = story.random.between(-3_600, 90_000);
        let ceiling = Amount::whole(story.random.between(1, 3_000));
        let with_ceiling = !by_value || wanted.is_none() || story.random.in_thousand(200);
        let approval = Approval {
            row_id: story.now.row_id.clone(),
            column: column.to_string(),
            editor,
            approver: "controller@example.com".to_string(),
            valid_from: None,
            valid_until: story.random.in_thousand(300).then(|| seconds_after(at, 86_400)),
            value: wanted.filter(|_| by_value),
            ceiling: with_ceiling.then_some(ceiling),
        };
        facts.push(Fact {
            id: next_id("A"),
            version: 0,
            effective_at: seconds_after(at, -early),
            statement: Statement::Approval(approval),
        });
    }
    facts
}

/// Gives some rows the natural key of another one, in the same week.
pub(crate) fn share_natural_key(story: &mut Story, other: &BTreeMap<String, Cell>) {
    for column in crate::rulebook::NATURAL_KEY {
        if let Some(cell) = other.get(column) {
            story.set(column, cell.clone());
        }
    }
}
