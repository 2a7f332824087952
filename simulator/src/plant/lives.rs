//! Locks, deletes, returns and moves.

use super::{Entry, Scene};
use crate::amount::Amount;
use crate::days::{days_after, micros_after, seconds_after};
use crate::event::Op;
use crate::rulebook::TOTAL;
use crate::truth::FlagKey;

pub(super) const SCENARIOS: &[Entry] = &[
    ("un-completed", |rates| rates.lock, uncompleted),
    ("moved to another period", |rates| rates.lock, other_period),
    ("put into another currency", |rates| rates.lock, other_currency),
    (
        "deleted after it was completed",
        |rates| rates.deleted,
        deleted_completed,
    ),
    ("deleted after its end", |rates| rates.deleted, deleted_past_end),
    (
        "deleted in another currency",
        |rates| rates.deleted,
        deleted_in_another_currency,
    ),
    ("deleted in time", |rates| rates.deleted, deleted_in_time),
    (
        "deleted at first sight",
        |rates| rates.deleted,
        deleted_at_first_sight,
    ),
    ("moved within seven days", |rates| rates.moved, moved),
    (
        "created again after more than seven days, and before the delete",
        |rates| rates.moved,
        not_moved,
    ),
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

/// The row is deleted in time, and another row with its columns is created so long after the delete.
fn again(scene: &mut Scene<'_>, seconds: i64, micros: i64) -> FlagKey {
    scene.story.calm(1);
    let at = scene.in_time();
    scene.story.delete(at, "ben@example.com");
    scene.other.now.columns.clone_from(&scene.story.now.columns);
    scene.other.now.period_end = scene.story.now.period_end;
    let version = scene.other.say(
        Op::Create,
        micros_after(seconds_after(at, seconds), micros),
        "ben@example.com",
    );
    FlagKey::new("row_moved", &scene.other.now.row_id, version, None)
}

fn moved(scene: &mut Scene<'_>) {
    let edges = [7 * 86_400, 0, 3_600];
    let seconds = *scene.story.random.pick(&edges);
    let key = again(scene, seconds, 0);
    scene.found.expected.push(key);
}

fn not_moved(scene: &mut Scene<'_>) {
    let edges = [(7 * 86_400, 1), (0, -1)];
    let (seconds, micros) = *scene.story.random.pick(&edges);
    let key = again(scene, seconds, micros);
    scene.found.absent.push(key);
}
