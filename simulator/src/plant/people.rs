//! Who may edit, and values that come back.

use super::{Group, Scenario, Scene};
use crate::days::{FIRST_WEEK_END, days_after, seconds_after, utc};
use crate::event::{Cell, Op};
use crate::rulebook::{FOREMAN, QUANTITY, TOTAL};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("edited by a stranger", Group::Editors, stranger),
    ("edited by nobody", Group::Editors, nobody),
    (
        "edited by people of the table, within and after their validity",
        Group::Editors,
        of_the_table,
    ),
    (
        "a cell edited by a stranger, and a stranger's row with an allowed cell",
        Group::Editors,
        cell_editor,
    ),
    ("a value comes back", Group::Reversions, comes_back),
    (
        "a value comes back after a delete",
        Group::Reversions,
        comes_back_after_delete,
    ),
    ("an older value comes back", Group::Reversions, older_value),
];

const UNAUTHORIZED: &str = "unauthorized_editor";

fn stranger(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    for (editor, may) in [
        ("mallory@evil.test", false),
        ("ann@example.com.evil.test", false),
        ("ANN@EXAMPLE.COM", true),
    ] {
        let at = scene.in_time();
        scene.grow();
        let version = scene.story.update(at, editor);
        if may {
            scene.absent(UNAUTHORIZED, version, Some(TOTAL));
        } else {
            scene.expect(UNAUTHORIZED, version, Some(TOTAL));
            scene.expect(UNAUTHORIZED, version, Some(QUANTITY));
        }
    }
}

fn nobody(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    scene.grow();
    let version = scene
        .story
        .say_as(Op::Update, Some(at), None, seconds_after(at, 60));
    scene.expect(UNAUTHORIZED, version, Some(TOTAL));
}

fn of_the_table(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    scene.grow();
    let version = scene.story.update(at, "contractor-12@partners.test");
    scene.absent(UNAUTHORIZED, version, Some(TOTAL));
    // The agency's validity ends at this instant, in every week.
    let until = utc(days_after(FIRST_WEEK_END, 8), 0);
    scene.grow();
    let version = scene.story.update(seconds_after(until, -1), "temp@agency.test");
    scene.absent(UNAUTHORIZED, version, Some(TOTAL));
    scene.grow();
    let version = scene.story.update(until, "temp@agency.test");
    scene.expect(UNAUTHORIZED, version, Some(TOTAL));
}

fn cell_editor(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    scene
        .story
        .cell_edit(TOTAL, seconds_after(at, -60), "mallory@evil.test");
    let version = scene.grown(at);
    scene.expect(UNAUTHORIZED, version, Some(TOTAL));
    scene.absent(UNAUTHORIZED, version, Some(QUANTITY));
    let at = scene.in_time();
    scene
        .story
        .cell_edit(TOTAL, seconds_after(at, -60), "ann@example.com");
    scene.grow();
    let version = scene.story.update(at, "mallory@evil.test");
    scene.absent(UNAUTHORIZED, version, Some(TOTAL));
    scene.expect(UNAUTHORIZED, version, Some(QUANTITY));
}

fn foreman(scene: &mut Scene<'_>, name: &str) -> u64 {
    let at = scene.in_time();
    scene.set(FOREMAN, Cell::text(name), at)
}

fn comes_back(scene: &mut Scene<'_>) {
    scene.story.set(FOREMAN, Cell::text("A"));
    scene.story.calm(1);
    let version = foreman(scene, "B");
    scene.absent("reversion", version, Some(FOREMAN));
    // A version that changes something else does not stand between.
    let at = scene.in_time();
    scene.grown(at);
    let version = foreman(scene, "A");
    scene.expect("reversion", version, Some(FOREMAN));
    let version = foreman(scene, "B");
    scene.expect("reversion", version, Some(FOREMAN));
}

fn comes_back_after_delete(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let total = scene.story.now.columns.get(TOTAL).cloned().unwrap_or(Cell::Null);
    let at = scene.in_time();
    scene.set(TOTAL, Cell::text("N/A"), at);
    let at = scene.in_time();
    scene.story.delete(at, "ann@example.com");
    scene.story.set(TOTAL, total);
    let at = scene.in_time();
    let version = scene.story.say(Op::Create, at, "ann@example.com");
    scene.expect("reversion", version, Some(TOTAL));
}

fn older_value(scene: &mut Scene<'_>) {
    scene.story.set(FOREMAN, Cell::text("A"));
    scene.story.calm(1);
    for name in ["B", "C"] {
        foreman(scene, name);
    }
    // A, B, C, A: not the one before the last change.
    let version = foreman(scene, "A");
    scene.absent("reversion", version, Some(FOREMAN));
}
