//! What comes too late: changes and rows after the end, after a close, and what is just in time.

use super::{Group, Scenario, Scene};
use crate::amount::Amount;
use crate::days::{days_after, micros_after, seconds_after};
use crate::event::{Cell, Op};
use crate::rulebook::{FOREMAN, QUANTITY, TOTAL};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("changed after the end", Group::Retroactive, changed_late),
    (
        "changed at the edge of the last day",
        Group::Retroactive,
        at_the_edge,
    ),
    (
        "a cell changed late in a row that was in time, and the other way round",
        Group::Retroactive,
        cell_late,
    ),
    ("changed at no known time", Group::Retroactive, observed_late),
    ("seen twice, in time and late", Group::Retroactive, observed_twice),
    (
        "changed between a close and its re-opening",
        Group::Retroactive,
        while_closed,
    ),
    (
        "moved into a closed period and out of one",
        Group::Retroactive,
        closed_on_one_side,
    ),
    (
        "the end moved on while a column changed",
        Group::Retroactive,
        end_moved,
    ),
    ("the same amount in other words", Group::Retroactive, same_amount),
    (
        "changed after it was completed",
        Group::Completed,
        completed_then_changed,
    ),
    ("created late", Group::Late, created_late),
    (
        "created at the edge of the last day",
        Group::Late,
        created_at_the_edge,
    ),
    ("found late, not created", Group::Late, found_late),
    ("came back late after a delete", Group::Late, came_back_late),
];

const RETROACTIVE: &str = "retroactive_change";

fn changed_late(scene: &mut Scene<'_>) {
    scene.story.calm(2);
    let at = scene.late();
    let version = scene.grown(at);
    scene.expect(RETROACTIVE, version, Some(QUANTITY));
    scene.expect(RETROACTIVE, version, Some(TOTAL));
    scene.absent(RETROACTIVE, version, Some(FOREMAN));
}

fn at_the_edge(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let edge = scene.edge(scene.story.week_end);
    for at in [seconds_after(edge, -1), micros_after(edge, -1)] {
        let version = scene.grown(at);
        scene.absent(RETROACTIVE, version, Some(TOTAL));
    }
    let version = scene.grown(edge);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
}

fn cell_late(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let (in_time, late) = (scene.in_time(), scene.late());
    scene.story.cell_edit(TOTAL, late, "ben@example.com");
    let version = scene.grown(in_time);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
    scene.absent(RETROACTIVE, version, Some(QUANTITY));
    scene
        .story
        .cell_edit(TOTAL, seconds_after(in_time, 60), "ben@example.com");
    let version = scene.grown(late);
    scene.absent(RETROACTIVE, version, Some(TOTAL));
    scene.expect(RETROACTIVE, version, Some(QUANTITY));
}

fn observed_late(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.late();
    scene.grow();
    let version = scene.story.say_as(Op::Update, None, Some("ann@example.com"), at);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
}

fn observed_twice(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let (in_time, late) = (scene.in_time(), scene.late());
    scene.grow();
    let version = scene
        .story
        .say_as(Op::Update, None, Some("ann@example.com"), late);
    // Of copies the one seen first counts, also when it comes last.
    scene.story.seen_again(in_time);
    scene.absent(RETROACTIVE, version, Some(TOTAL));
}

fn while_closed(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    // A close on Tuesday was said once, and replaced.
    let at = scene.in_time();
    let version = scene.grown(at);
    scene.absent(RETROACTIVE, version, Some(TOTAL));
    let friday = scene.story.day(-2, 12 * 3_600);
    let version = scene.grown(seconds_after(friday, -1));
    scene.absent(RETROACTIVE, version, Some(TOTAL));
    let version = scene.grown(friday);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
    let version = scene.grown(seconds_after(friday, 3_599));
    scene.expect(RETROACTIVE, version, Some(TOTAL));
    let version = scene.grown(seconds_after(friday, 3_600));
    scene.absent(RETROACTIVE, version, Some(TOTAL));
    // Closed and opened at one instant: the greater id counts, which opens in every other week.
    let version = scene.grown(seconds_after(friday, 3 * 3_600 + 60));
    let weeks = crate::days::FIRST_WEEK_END
        .until(scene.story.week_end)
        .map_or(0, |span| span.get_days() / 7);
    if weeks % 2 == 0 {
        scene.absent(RETROACTIVE, version, Some(TOTAL));
    } else {
        scene.expect(RETROACTIVE, version, Some(TOTAL));
    }
}

fn closed_on_one_side(scene: &mut Scene<'_>) {
    let (this, next) = (scene.story.week_end, days_after(scene.story.week_end, 7));
    scene.story.now.period_end = Some(next);
    scene.story.calm(1);
    // This week is closed for an hour; next week is not.
    let friday = scene.story.day(-2, 12 * 3_600);
    let version = scene.grown(seconds_after(friday, 60));
    scene.absent(RETROACTIVE, version, Some(TOTAL));
    for (end, seconds) in [(this, 120), (next, 180)] {
        scene.story.now.period_end = Some(end);
        let version = scene.grown(seconds_after(friday, seconds));
        scene.expect(RETROACTIVE, version, Some(TOTAL));
        scene.absent("lock_change", version, Some("period_end"));
    }
}

fn end_moved(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.late();
    // Two weeks on: only the end before makes it late.
    scene.story.now.period_end = Some(days_after(scene.story.week_end, 28));
    let version = scene.grown(at);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
    scene.expect("lock_change", version, Some("period_end"));
    let at = scene.late();
    let version = scene.grown(at);
    scene.absent(RETROACTIVE, version, Some(TOTAL));
}

fn same_amount(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let total = scene.story.amount(TOTAL).to_string();
    let zeros = if total.contains('.') { "0" } else { ".00" };
    let at = scene.late();
    let version = scene.set(TOTAL, Cell::text(format!("{total}{zeros}")), at);
    scene.absent(RETROACTIVE, version, Some(TOTAL));
}

fn completed_then_changed(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.now.completed = true;
    let at = scene.in_time();
    // Completed is read before the change, so the version that completes the row may change it.
    let version = scene.grown(at);
    scene.absent("completed_row_change", version, Some(TOTAL));
    let at = scene.in_time();
    scene.story.add(TOTAL, Amount::cents(1_234));
    let version = scene.story.update(at, "ann@example.com");
    scene.expect("completed_row_change", version, Some(TOTAL));
    scene.absent("completed_row_change", version, Some(QUANTITY));
    scene.absent(RETROACTIVE, version, Some(TOTAL));
}

fn created_late(scene: &mut Scene<'_>) {
    let at = scene.late();
    let version = scene.story.say(Op::Create, at, "ann@example.com");
    scene.expect("late_row", version, None);
}

fn created_at_the_edge(scene: &mut Scene<'_>) {
    let edge = scene.edge(scene.story.week_end);
    let version = scene.story.say(Op::Create, edge, "ann@example.com");
    scene.expect("late_row", version, None);
    let row_id = scene.other.now.row_id.clone();
    let version = scene
        .other
        .say(Op::Create, seconds_after(edge, -1), "ann@example.com");
    scene
        .found
        .absent
        .push(crate::truth::FlagKey::new("late_row", &row_id, version, None));
}

fn found_late(scene: &mut Scene<'_>) {
    let at = scene.late();
    let version = scene.story.say(Op::Snapshot, at, "ann@example.com");
    scene.absent("late_row", version, None);
}

fn came_back_late(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    scene.story.delete(at, "ann@example.com");
    let at = scene.late();
    let version = scene.story.say(Op::Create, at, "ann@example.com");
    scene.absent("late_row", version, None);
    scene.absent("row_moved", version, None);
}
