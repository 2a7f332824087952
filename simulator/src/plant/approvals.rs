//! Approvals that fit, and those that look as if they did.

use jiff::Timestamp;

use super::{Group, Scenario, Scene};
use crate::amount::Amount;
use crate::days::{micros_after, seconds_after};
use crate::event::Cell;
use crate::fact::{Approval, Fact, Statement};
use crate::rulebook::{FOREMAN, QUANTITY, TOTAL};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("approved by value", Group::Approvals, by_value),
    ("approved up to a ceiling", Group::Approvals, by_ceiling),
    (
        "approved for a completed row and a stranger",
        Group::Approvals,
        all_three_kinds,
    ),
    (
        "approved at the last instant",
        Group::Approvals,
        at_the_last_instant,
    ),
    ("one approval, two changes", Group::Approvals, used_once),
    ("approved by the editor", Group::Approvals, by_the_editor),
    ("approved too late", Group::Approvals, too_late),
    ("approved for another value", Group::Approvals, other_value),
    ("approved up to less", Group::Approvals, low_ceiling),
    ("approved for another column", Group::Approvals, other_column),
    ("approved for another editor", Group::Approvals, other_editor),
    ("approved for another row", Group::Approvals, other_row),
    ("approval expired", Group::Approvals, expired),
    ("approval not yet valid", Group::Approvals, not_yet_valid),
    (
        "approval replaced by a higher version",
        Group::Approvals,
        replaced,
    ),
    (
        "approval with a ceiling for an impact that nobody knows",
        Group::Approvals,
        unknown_impact,
    ),
    (
        "approval with a value that fits and a ceiling that does not",
        Group::Approvals,
        both_must_hold,
    ),
    ("an approved reversion", Group::Approvals, approved_reversion),
];

const RETROACTIVE: &str = "retroactive_change";
const EDITOR: &str = "ann@example.com";

/// An approval of this row's total for Ann by Ben, an hour before the change and up to any amount.
fn approval(scene: &Scene<'_>, change_at: Timestamp) -> (Timestamp, Approval) {
    let approval = Approval {
        row_id: scene.story.now.row_id.clone(),
        column: TOTAL.to_string(),
        editor: EDITOR.to_string(),
        approver: "ben@example.com".to_string(),
        valid_from: None,
        valid_until: None,
        value: None,
        ceiling: Some(Amount::whole(1_000_000)),
    };
    (Scene::hour_before(change_at), approval)
}

fn say(scene: &mut Scene<'_>, effective_at: Timestamp, approval: Approval) -> String {
    let id = scene.facts.id("A");
    let statement = Statement::Approval(approval);
    scene.made.push(Fact {
        id: id.clone(),
        version: 0,
        effective_at,
        statement,
    });
    id
}

/// A late change of the total, under an approval that is made from one that fits.
fn under(
    scene: &mut Scene<'_>,
    fits: bool,
    change: impl FnOnce(&Scene<'_>, Timestamp, &mut Timestamp, &mut Approval),
) {
    scene.story.calm(1);
    let at = scene.late();
    scene.grow();
    let (mut effective_at, mut given) = approval(scene, at);
    change(scene, at, &mut effective_at, &mut given);
    say(scene, effective_at, given);
    let version = scene.story.update(at, EDITOR);
    // The quantity changed as well, and nobody approved that.
    scene.expect(RETROACTIVE, version, Some(QUANTITY));
    if fits {
        scene.absent(RETROACTIVE, version, Some(TOTAL));
        scene.authorised(version, TOTAL);
    } else {
        scene.expect(RETROACTIVE, version, Some(TOTAL));
    }
}

fn value_of(scene: &Scene<'_>) -> String {
    scene.story.amount(TOTAL).to_string()
}

fn by_value(scene: &mut Scene<'_>) {
    under(scene, true, |scene, _, _, given| {
        // Text of an amount, with zeros that do not count.
        let text = value_of(scene);
        let zeros = if text.contains('.') { "0" } else { ".0" };
        given.value = Some(Cell::text(format!("{text}{zeros}")));
        given.ceiling = None;
    });
}

fn by_ceiling(scene: &mut Scene<'_>) {
    under(scene, true, |scene, _, _, given| {
        // One thing more costs its price; exactly that much is allowed.
        given.ceiling = Some(scene.story.amount(crate::rulebook::PRICE));
    });
}

fn all_three_kinds(scene: &mut Scene<'_>) {
    scene.story.now.completed = true;
    scene.story.calm(1);
    let at = scene.late();
    scene.grow();
    let (effective_at, mut given) = approval(scene, at);
    given.editor = "MALLORY@evil.test".to_string();
    say(scene, effective_at, given);
    let version = scene.story.update(at, "mallory@evil.test");
    for kind in [RETROACTIVE, "completed_row_change", "unauthorized_editor"] {
        scene.absent(kind, version, Some(TOTAL));
        scene.expect(kind, version, Some(QUANTITY));
    }
    scene.authorised(version, TOTAL);
}

fn at_the_last_instant(scene: &mut Scene<'_>) {
    under(scene, true, |_, at, effective_at, given| {
        *effective_at = at;
        given.valid_from = Some(at);
        given.valid_until = Some(micros_after(at, 1));
    });
}

fn used_once(scene: &mut Scene<'_>) {
    under(scene, true, |_, _, _, _| {});
    let at = scene.late();
    let version = scene.grown(at);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
}

fn by_the_editor(scene: &mut Scene<'_>) {
    under(scene, false, |_, _, _, given| {
        given.approver = "Ann@Example.com".to_string()
    });
}

fn too_late(scene: &mut Scene<'_>) {
    under(scene, false, |_, at, effective_at, _| {
        *effective_at = micros_after(at, 1)
    });
}

fn other_value(scene: &mut Scene<'_>) {
    under(scene, false, |_, _, _, given| {
        given.value = Some(Cell::text("0.01"));
        given.ceiling = None;
    });
}

fn low_ceiling(scene: &mut Scene<'_>) {
    under(scene, false, |scene, _, _, given| {
        let price = scene.story.amount(crate::rulebook::PRICE);
        given.ceiling = price.minus(Amount::cents(1));
    });
}

fn other_column(scene: &mut Scene<'_>) {
    under(scene, false, |_, _, _, given| given.column = FOREMAN.to_string());
}

fn other_editor(scene: &mut Scene<'_>) {
    under(scene, false, |_, _, _, given| {
        given.editor = "cleo@example.com".to_string()
    });
}

fn other_row(scene: &mut Scene<'_>) {
    under(scene, false, |scene, _, _, given| {
        given.row_id.clone_from(&scene.other.now.row_id)
    });
}

fn expired(scene: &mut Scene<'_>) {
    under(scene, false, |_, at, _, given| given.valid_until = Some(at));
}

fn not_yet_valid(scene: &mut Scene<'_>) {
    under(scene, false, |_, at, _, given| {
        given.valid_from = Some(micros_after(at, 1))
    });
}

fn replaced(scene: &mut Scene<'_>) {
    under(scene, false, |_, _, _, _| {});
    if let Some(mut fact) = scene.made.last().cloned() {
        fact.version += 1;
        if let Statement::Approval(approval) = &mut fact.statement {
            approval.valid_until = Some(Scene::hour_before(fact.effective_at));
        }
        scene.made.insert(0, fact);
    }
}

fn unknown_impact(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.late();
    let (effective_at, given) = approval(scene, at);
    say(scene, effective_at, given);
    let version = scene.set(TOTAL, Cell::text("N/A"), at);
    scene.expect(RETROACTIVE, version, Some(TOTAL));
}

fn both_must_hold(scene: &mut Scene<'_>) {
    under(scene, false, |scene, _, _, given| {
        given.value = Some(Cell::text(value_of(scene)));
        given.ceiling = Some(Amount::cents(1));
    });
}

fn approved_reversion(scene: &mut Scene<'_>) {
    scene.story.set(FOREMAN, Cell::text("A"));
    scene.story.calm(1);
    let at = scene.in_time();
    scene.set(FOREMAN, Cell::text("B"), at);
    let at = scene.late();
    let (effective_at, mut given) = approval(scene, at);
    given.column = FOREMAN.to_string();
    given.value = Some(Cell::text("A"));
    given.ceiling = None;
    given.valid_from = Some(seconds_after(at, -7_200));
    say(scene, effective_at, given);
    let version = scene.set(FOREMAN, Cell::text("A"), at);
    scene.absent(RETROACTIVE, version, Some(FOREMAN));
    scene.expect("reversion", version, Some(FOREMAN));
    scene.authorised(version, FOREMAN);
}
