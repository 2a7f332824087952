//! Rows that are deleted and created again under the same natural key.

use jiff::Timestamp;

use super::{Group, Scenario, Scene};
use crate::days::{micros_after, seconds_after};
use crate::event::{Cell, Op};
use crate::truth::FlagKey;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("moved within seven days", Group::Moved, moved),
    ("found elsewhere after a delete", Group::Moved, found_elsewhere),
    ("created again after more than seven days", Group::Moved, too_late),
    ("created again before the delete", Group::Moved, too_early),
    ("another task created after a delete", Group::Moved, other_task),
    (
        "created after the delete of a row that was gone",
        Group::Moved,
        gone_already,
    ),
    ("created after a delete at first sight", Group::Moved, never_seen),
];

const WEEK: i64 = 7 * 86_400;
const EDITOR: &str = "ben@example.com";

/// A calm row that is deleted in time.
fn deleted(scene: &mut Scene<'_>) -> Timestamp {
    scene.story.calm(1);
    let at = scene.in_time();
    scene.story.delete(at, EDITOR);
    at
}

/// Another row with the same columns.
fn again(scene: &mut Scene<'_>, op: Op, at: Timestamp) -> FlagKey {
    scene.other.now.columns.clone_from(&scene.story.now.columns);
    let version = scene.other.say(op, at, EDITOR);
    FlagKey::new("row_moved", &scene.other.now.row_id, version, None)
}

fn moved(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    let seconds = *scene.story.random.pick(&[WEEK, 0, 3_600]);
    let key = again(scene, Op::Create, seconds_after(deleted_at, seconds));
    scene.found.expected.push(key);
}

fn found_elsewhere(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    let key = again(scene, Op::Snapshot, seconds_after(deleted_at, 60));
    scene.found.expected.push(key);
    // Only first sight is moved.
    let version = scene.other.update(seconds_after(deleted_at, 120), EDITOR);
    let row_id = scene.other.now.row_id.clone();
    scene
        .found
        .absent
        .push(FlagKey::new("row_moved", &row_id, version, None));
}

fn too_late(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    let key = again(
        scene,
        Op::Create,
        micros_after(seconds_after(deleted_at, WEEK), 1),
    );
    scene.found.absent.push(key);
}

fn too_early(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    let key = again(scene, Op::Create, micros_after(deleted_at, -1));
    scene.found.absent.push(key);
}

fn other_task(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    scene.story.set("Task", Cell::text("T-9"));
    let key = again(scene, Op::Create, seconds_after(deleted_at, 60));
    scene.found.absent.push(key);
}

fn gone_already(scene: &mut Scene<'_>) {
    let deleted_at = deleted(scene);
    scene.story.delete(seconds_after(deleted_at, WEEK), EDITOR);
    let key = again(scene, Op::Create, seconds_after(deleted_at, WEEK + 60));
    scene.found.absent.push(key);
}

fn never_seen(scene: &mut Scene<'_>) {
    let at = scene.in_time();
    // It says its columns, which do not count before first sight.
    scene.story.say(Op::Delete, at, EDITOR);
    let key = again(scene, Op::Create, seconds_after(at, 60));
    scene.found.absent.push(key);
}
