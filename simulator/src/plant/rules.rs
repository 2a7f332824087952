//! Violated rules: the source's own, its calendar's, and its contract prices'.

use super::{Group, Scenario, Scene};
use crate::amount::Amount;
use crate::days::{days_after, micros_after, seconds_after};
use crate::event::Cell;
use crate::rulebook::{PRICE, QUANTITY, TOTAL};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("total is not the product", Group::Rules, wrong_total),
    ("negative quantity", Group::Rules, negative),
    ("text where an amount is needed", Group::Rules, text),
    ("a product that nothing can hold", Group::Rules, out_of_range),
    ("a week that ends on a Wednesday", Group::Rules, wednesday),
    ("price above the contract", Group::Rules, above_contract),
    ("the contract price sinks", Group::Rules, contract_sinks),
    ("two contract prices at once", Group::Rules, two_contracts),
    ("a contract price that was said later", Group::Rules, said_later),
    ("no agreed price", Group::Rules, no_contract),
];

const VIOLATION: &str = "rule_violation";
const PRODUCT: Option<&str> = Some("total_is_quantity_times_price");
const CONTRACT: Option<&str> = Some("price_within_contract");
const WEEK: Option<&str> = Some("week_ends_on_sunday");

fn wrong_total(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.add(TOTAL, Amount::cents(1));
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect(VIOLATION, version, PRODUCT);
    // Still violated, by another amount: was violated before.
    scene.story.add(TOTAL, Amount::cents(500));
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent(VIOLATION, version, PRODUCT);
    scene.story.retotal();
    let at = scene.in_time();
    scene.story.update(at, "ann@example.com");
    // A half of the last digit is rounded to the even one, so this total is the product.
    scene.story.set(QUANTITY, Cell::text("0.000000003"));
    scene.story.set(PRICE, Cell::text("0.5"));
    scene.story.set(TOTAL, Cell::text("0.000000002"));
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent(VIOLATION, version, PRODUCT);
    scene.story.set(TOTAL, Cell::text("0.000000001"));
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect(VIOLATION, version, PRODUCT);
}

fn negative(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.set(QUANTITY, Cell::Number(Amount::whole(-2)));
    scene.story.retotal();
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect(VIOLATION, version, Some("quantity_is_not_negative"));
    scene.absent(VIOLATION, version, PRODUCT);
}

fn text(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    let at = scene.in_time();
    let version = scene.set(QUANTITY, Cell::text("N/A"), at);
    scene.expect(VIOLATION, version, PRODUCT);
    scene.expect(VIOLATION, version, Some("quantity_is_not_negative"));
    let at = scene.in_time();
    let version = scene.set(QUANTITY, Cell::Null, at);
    // Nothing counts as zero, so the rule can be judged again, and the total is no product of zero.
    scene.absent(VIOLATION, version, Some("quantity_is_not_negative"));
    scene.absent(VIOLATION, version, PRODUCT);
}

fn out_of_range(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.set(PRICE, Cell::text("1000000000000000.5"));
    scene.story.set(QUANTITY, Cell::text("1000000000000"));
    scene.story.retotal();
    let at = scene.late();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent(VIOLATION, version, PRODUCT);
    let at = scene.late();
    let version = scene.set(QUANTITY, Cell::text("100000000000000"), at);
    scene.expect(VIOLATION, version, PRODUCT);
    scene.expect("retroactive_change", version, Some(QUANTITY));
}

fn wednesday(scene: &mut Scene<'_>) {
    scene.story.calm(1);
    scene.story.now.period_end = Some(days_after(scene.story.week_end, 3));
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect(VIOLATION, version, WEEK);
    scene.story.now.period_end = None;
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.absent(VIOLATION, version, WEEK);
}

fn above_contract(scene: &mut Scene<'_>) {
    let agreed = scene.story.amount(PRICE);
    let fact = scene
        .facts
        .contract(&scene.story.now.columns, agreed, (None, None));
    scene.made.push(fact);
    scene.story.calm(1);
    let first = scene.story.now.version;
    scene.absent(VIOLATION, first, CONTRACT);
    scene.story.add(PRICE, Amount::cents(150));
    scene.story.retotal();
    let at = scene.in_time();
    let version = scene.story.update(at, "ann@example.com");
    scene.expect(VIOLATION, version, CONTRACT);
    scene.absent(VIOLATION, version, PRODUCT);
}

fn contract_sinks(scene: &mut Scene<'_>) {
    let agreed = scene.story.amount(PRICE);
    let lower = agreed.minus(Amount::cents(50)).unwrap_or(agreed);
    let from = scene.story.day(-3, 12 * 3_600);
    for (price, valid) in [(agreed, (None, Some(from))), (lower, (Some(from), None))] {
        let fact = scene.facts.contract(&scene.story.now.columns, price, valid);
        scene.made.push(fact);
    }
    // An agreement that sank on the first day was a mistake, and was replaced under its id.
    let wrong = scene.facts.contract(
        &scene.story.now.columns,
        Amount::cents(1),
        (Some(scene.story.day(-6, 0)), None),
    );
    let mut right = scene
        .facts
        .contract(&scene.story.now.columns, lower, (Some(from), None));
    right.id.clone_from(&wrong.id);
    right.version = 3;
    scene.made.extend([right, wrong]);
    scene.story.calm(1);
    let version = scene.grown(seconds_after(from, -1));
    scene.absent(VIOLATION, version, CONTRACT);
    let version = scene.grown(from);
    scene.expect(VIOLATION, version, CONTRACT);
}

fn two_contracts(scene: &mut Scene<'_>) {
    let agreed = scene.story.amount(PRICE);
    let lower = agreed.minus(Amount::cents(75)).unwrap_or(agreed);
    let from = scene.story.day(-3, 12 * 3_600);
    // All stay valid. The later one counts; of those that are equally late the one with the greater id, made last.
    for (price, valid_from) in [
        (lower, None),
        (agreed, None),
        (agreed, Some(from)),
        (lower, Some(from)),
    ] {
        let fact = scene
            .facts
            .contract(&scene.story.now.columns, price, (valid_from, None));
        scene.made.push(fact);
    }
    scene.story.calm(1);
    let version = scene.story.now.version;
    scene.absent(VIOLATION, version, CONTRACT);
    let version = scene.grown(micros_after(from, -1));
    scene.absent(VIOLATION, version, CONTRACT);
    let version = scene.grown(from);
    scene.expect(VIOLATION, version, CONTRACT);
}

fn said_later(scene: &mut Scene<'_>) {
    let low = scene
        .story
        .amount(PRICE)
        .minus(Amount::cents(25))
        .unwrap_or_default();
    let mut fact = scene.facts.contract(&scene.story.now.columns, low, (None, None));
    // Valid ever since, but nobody had said so before Thursday noon.
    let said_at = scene.story.day(-3, 12 * 3_600);
    fact.effective_at = said_at;
    scene.made.push(fact);
    scene.story.calm(1);
    let version = scene.grown(micros_after(said_at, -1));
    scene.absent(VIOLATION, version, CONTRACT);
    let version = scene.grown(said_at);
    scene.expect(VIOLATION, version, CONTRACT);
}

fn no_contract(scene: &mut Scene<'_>) {
    let price = scene.story.amount(PRICE);
    let low = price.minus(Amount::cents(100)).unwrap_or(price);
    let fact = scene.facts.contract(&scene.story.now.columns, low, (None, None));
    scene.made.push(fact);
    // Without a task the row has no agreed price.
    scene.story.set("Task", Cell::Null);
    scene.story.calm(1);
    let version = scene.story.now.version;
    scene.absent(VIOLATION, version, CONTRACT);
}
