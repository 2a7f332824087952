//! Locks, deletes and returns.

use super::{Group, Scenario, Scene};
use crate::amount::Amount;
use crate::days::{days_after, seconds_after};
use crate::event::Op;
use crate::rulebook::TOTAL;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("un-completed", Group::Lock, uncompleted),
    ("moved to another period", Group::Lock, other_period),
    ("put into another currency", Group::Lock, other_currency),
    (
        "deleted after it was completed",
        Group::Deleted,
        deleted_completed,
    ),
    ("deleted after its end", Group::Deleted, deleted_past_end),
    (
        "deleted in another currency",
        Group::Deleted,
        deleted_in_another_currency,
    ),
    ("deleted in time", Group::Deleted, deleted_in_time),
    ("deleted at first sight", Group::Deleted, deleted_at_first_sight),
];

fn uncompleted(scene: &mut Scene<'_>) {
    scene.story.now.completed = true;
    scene.story.calm(0);
    scene.story.now.completed = false;
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect("lock_change", version, Some("completed"));
    scene.story.now.completed = true;
    let at = scene.late();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent("lock_change", version, Some("completed"));
}

fn other_period(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let end = days_after(scene.story.week_end, 14);
    scene.story.now.period_end = Some(end);
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent("lock_change", version, Some("period_end"));
    // "Past its end" knows no grace: the first second after the end itself.
    scene.story.now.period_end = Some(days_after(end, 7));
    let edge = scene.end_edge(end);
    let version = scene.story.update(seconds_after(edge, -1), "ann@example.com");
    scene.absent("lock_change", version, Some("period_end"));
    scene.story.now.period_end = None;
    let edge = scene.end_edge(days_after(end, 7));
    let version = scene.story.update(edge, "ann@example.com");
    scene.expect("lock_change", version, Some("period_end"));
}

fn other_currency(scene: &mut Scene<'_>) {
    scene.story.now.currency = Some("USD".to_string());
    scene.story.calm(1);
    scene.story.now.currency = Some("EUR".to_string());
    let at = scene.in_time();
    let version = scene.grown(at);
    scene.absent("lock_change", version, Some("currency"));
    scene.story.now.currency = Some("GBP".to_string());
    let at = scene.late();
    let version = scene.grown(at);
    scene.expect("lock_change", version, Some("currency"));
    scene.expect("retroactive_change", version, Some(TOTAL));
}

fn deleted_completed(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.now.completed = true;
    let at = scene.in_time();
    scene.story.update(at, "ann@example.com");
    let at = scene.in_time();
    let version = scene.story.delete(at, "ben@example.com");
    scene.expect("row_deleted", version, None);
    let at = scene.late();
    let again = scene.story.delete(at, "ben@example.com");
    scene.absent("row_deleted", again, None);
}

fn deleted_past_end(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let edge = scene.end_edge(scene.story.week_end);
    let version = scene.story.delete(seconds_after(edge, -1), "ben@example.com");
    scene.absent("row_deleted", version, None);
    let at = seconds_after(edge, -1);
    scene.story.say(Op::Create, at, "ben@example.com");
    let version = scene.story.delete(edge, "ben@example.com");
    scene.expect("row_deleted", version, None);
}

fn deleted_in_another_currency(scene: &mut Scene<'_>) {
    scene.story.now.currency = Some("USD".to_string());
    scene.story.calm(1);
    scene.story.now.currency = Some("EUR".to_string());
    let at = scene.late();
    let version = scene.story.say(Op::Delete, at, "ben@example.com");
    scene.expect("row_deleted", version, None);
    scene.absent("lock_change", version, Some("currency"));
}

fn deleted_in_time(scene: &mut Scene<'_>) {
    scene.story.calm(2);
    let at = scene.in_time();
    let version = scene.story.delete(at, "ben@example.com");
    scene.absent("row_deleted", version, None);
    // It comes back with another total, which is a change against the version before the delete.
    scene.story.add(TOTAL, Amount::whole(5));
    let at = scene.late();
    let version = scene.story.say(Op::Create, at, "ben@example.com");
    scene.expect("retroactive_change", version, Some(TOTAL));
}

fn deleted_at_first_sight(scene: &mut Scene<'_>) {
    let at = scene.late();
    let version = scene.story.delete(at, "ben@example.com");
    scene.absent("row_deleted", version, None);
    let at = scene.late();
    let version = scene.story.say(Op::Snapshot, at, "ben@example.com");
    scene.absent("retroactive_change", version, Some(TOTAL));
    scene.absent("late_row", version, None);
}
