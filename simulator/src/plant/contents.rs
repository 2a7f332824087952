//! What a version holds: several contents at one version, text, and amounts of another currency.

use super::{Group, Scenario, Scene};
use crate::days::seconds_after;
use crate::event::{Cell, Event, Op};
use crate::rulebook::{FOREMAN, PRICE, QUANTITY, TOTAL};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("two contents at one version", Group::Conflicts, two_contents),
    ("one content without a time", Group::Conflicts, one_without_time),
    ("two contents of a delete", Group::Conflicts, two_deletes),
    (
        "an update and a delete at one version",
        Group::Conflicts,
        update_and_delete,
    ),
    ("two copies in other words", Group::Conflicts, two_copies),
    ("text in an amount", Group::Retroactive, text_in_amount),
    ("a quantity without a price", Group::Retroactive, no_price),
    (
        "an empty cell is filled and emptied",
        Group::Retroactive,
        empty_cell,
    ),
];

const CONFLICT: &str = "conflicting_version";

/// Says the last version once more, with another foreman and another time.
fn other_content(scene: &mut Scene<'_>, foreman: &str, seconds_later: Option<i64>) {
    let Some(last) = scene.story.events.last() else {
        return;
    };
    let mut other: Event = last.clone();
    let base = last.content.modified_at.unwrap_or(last.observed_at);
    other.content.modified_at = seconds_later.map(|seconds| seconds_after(base, seconds));
    other
        .content
        .columns
        .insert(FOREMAN.to_string(), Cell::text(foreman));
    other.observed_at = seconds_after(last.observed_at, 5);
    scene.story.events.push(other);
}

fn two_contents(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    let version = scene.set(FOREMAN, Cell::text("First"), at);
    // The later one stands, so that late changes are against it.
    other_content(scene, "Second", Some(30));
    scene.expect(CONFLICT, version, None);
    let at = scene.late();
    let version = scene.set(FOREMAN, Cell::text("Second"), at);
    scene.absent("retroactive_change", version, Some(FOREMAN));
    scene.absent(CONFLICT, version, None);
}

fn one_without_time(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    let version = scene.set(FOREMAN, Cell::text("Timed"), at);
    other_content(scene, "Timeless", None);
    scene.expect(CONFLICT, version, None);
    let at = scene.late();
    let version = scene.set(FOREMAN, Cell::text("Timeless"), at);
    scene.expect("retroactive_change", version, Some(FOREMAN));
}

fn two_deletes(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    let version = scene.story.delete(at, "ann@example.com");
    other_content(scene, "Left behind", Some(-40));
    scene.expect(CONFLICT, version, None);
    scene.absent("row_deleted", version, None);
}

fn update_and_delete(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.late();
    let version = scene.grown(at);
    other_content(scene, "Gone", Some(1));
    if let Some(last) = scene.story.events.last_mut() {
        last.content.op = Op::Delete;
    }
    scene.expect(CONFLICT, version, None);
    scene.expect("row_deleted", version, None);
    // The update that does not stand makes no change.
    scene.absent("retroactive_change", version, Some(TOTAL));
}

fn two_copies(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    let version = scene.grown(at);
    scene.story.seen_again(seconds_after(at, 90));
    scene.story.seen_again(seconds_after(at, 20));
    scene.absent(CONFLICT, version, None);
}

fn text_in_amount(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.late();
    let version = scene.set(TOTAL, Cell::text("N/A"), at);
    scene.expect("retroactive_change", version, Some(TOTAL));
    let at = scene.late();
    let version = scene.set(TOTAL, Cell::text("n/a"), at);
    // Text is compared to the letter.
    scene.expect("retroactive_change", version, Some(TOTAL));
}

fn no_price(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    for price in [Cell::Null, Cell::text("on request")] {
        scene.story.set(PRICE, price);
        let at = scene.late();
        let version = scene.story.update(at, "ann@example.com");
        scene.expect("retroactive_change", version, Some(PRICE));
        let at = scene.late();
        scene.grow();
        let version = scene.story.update(at, "ann@example.com");
        scene.expect("retroactive_change", version, Some(QUANTITY));
    }
}

fn empty_cell(scene: &mut Scene<'_>) {
    scene.story.now.columns.remove(TOTAL);
    let at = scene.story.day(-6, 43_200);
    scene.story.say(Op::Create, at, "ann@example.com");
    scene.story.retotal();
    let at = scene.late();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect("retroactive_change", version, Some(TOTAL));
    // A null is a missing column.
    let at = scene.late();
    let version = scene.set(TOTAL, Cell::Null, at);
    scene.expect("reversion", version, Some(TOTAL));
    scene.story.now.columns.remove(TOTAL);
    let at = scene.late();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent("retroactive_change", version, Some(TOTAL));
}
