//! Days, grace, calendars and closes: when a change is retroactive.

use redline_domain::entity::Standing;
use redline_schemas::fact::Fact;
use serde_json::json;

use crate::world::{
    IN_TIME, PAST_END, RULES, created, findings, flags_under, found, found_with, knowing, only, period,
    reference, rules, rules_with, shown, version,
};

const RETROACTIVE: [&str; 1] = ["retroactive_change 2 Quantity 190 MEDIUM"];

/// A change of the quantity at an instant, in a period that ends on 2026-02-22.
fn changed_at(time: &str) -> Vec<Standing> {
    vec![
        version(1, json!({"op": "create", "modified_at": "2026-02-16T00:00:00Z"})),
        version(2, json!({"Quantity": 12, "modified_at": time})),
    ]
}

#[test]
fn in_new_york_the_last_second_of_the_periods_last_day_passes_and_the_next_one_is_flagged() {
    assert!(found(changed_at(IN_TIME)).is_empty());
    assert!(found(changed_at("2026-02-23T04:59:59.999999Z")).is_empty());
    assert_eq!(found(changed_at(PAST_END)), RETROACTIVE);
    let utc = RULES.replace("America/New_York", "UTC");
    assert_eq!(
        shown(&flags_under(&utc, changed_at("2026-02-23T00:00:00Z"))),
        RETROACTIVE
    );
}

#[test]
fn the_time_zone_is_utc_where_none_is_named() {
    let rules = RULES.replace("time_zone = \"America/New_York\"\n", "");
    assert!(flags_under(&rules, changed_at("2026-02-22T23:59:59Z")).is_empty());
    assert_eq!(
        shown(&flags_under(&rules, changed_at("2026-02-23T00:00:00Z"))),
        RETROACTIVE
    );
}

#[test]
fn grace_in_days_moves_the_last_permitted_day_and_not_what_past_its_end_means() {
    let rules = rules_with("grace_days = 2");
    assert!(flags_under(&rules, changed_at("2026-02-25T04:59:59Z")).is_empty());
    let flags = flags_under(&rules, changed_at("2026-02-25T05:00:00Z"));
    assert_eq!(shown(&flags), RETROACTIVE);
    let details = &flags[0].details;
    assert_eq!(
        (details["days_late"].as_str(), details["grace_days"].as_str()),
        ("1", "2")
    );
    let deleted = vec![
        created(),
        version(2, json!({"op": "delete", "modified_at": PAST_END})),
    ];
    assert_eq!(
        shown(&flags_under(&rules, deleted)),
        ["row_deleted 2 - -950 MEDIUM"]
    );
}

#[test]
fn grace_in_business_days_passes_over_weekends_and_the_holidays_of_a_table() {
    let rules_text = rules_with("grace_days = { business = 2, holidays = \"us\" }");
    let holiday = || reference("h", "us", "2026-02-24");
    // The period ends on a Sunday; Monday and Tuesday are the first business days after it.
    let in_two_days = "2026-02-25T04:59:59Z";
    let on_the_third = "2026-02-26T04:59:59Z";
    let without = |time| found_with([rules(&rules_text)], changed_at(time));
    assert!(without(in_two_days).is_empty());
    assert_eq!(without(on_the_third), RETROACTIVE);
    let knowledge = knowing([rules(&rules_text), holiday()]);
    let with = |time| findings(&knowledge, changed_at(time)).flags;
    assert!(
        with(on_the_third).is_empty(),
        "Tuesday is a holiday, so Wednesday is permitted"
    );
    let flags = with("2026-02-26T05:00:00Z");
    assert_eq!(shown(&flags), RETROACTIVE);
    let details = &flags[0].details;
    assert_eq!(
        [
            &details["days_late"],
            &details["grace_days"],
            &details["grace"],
            &details["holidays"]
        ],
        ["1", "2", "business", "[\"2026-02-24\"]"]
    );
}

#[test]
fn a_holiday_counts_only_where_its_row_is_valid_at_the_versions_own_time() {
    let rules_text = rules_with("grace_days = { business = 2, holidays = \"us\" }");
    let mut holiday = reference("h", "us", "2026-02-24");
    holiday.valid_from = Some(crate::world::at("2027-01-01T00:00:00Z"));
    assert_eq!(
        found_with([rules(&rules_text), holiday], changed_at("2026-02-26T04:59:59Z")),
        RETROACTIVE
    );
}

#[test]
fn holidays_may_be_left_out_and_no_business_days_are_the_end_itself() {
    let two = rules_with("grace_days = { business = 2 }");
    assert!(flags_under(&two, changed_at("2026-02-25T04:59:59Z")).is_empty());
    assert_eq!(
        shown(&flags_under(&two, changed_at("2026-02-25T05:00:00Z"))),
        RETROACTIVE
    );
    let none = rules_with("grace_days = { business = 0 }");
    assert!(flags_under(&none, changed_at(IN_TIME)).is_empty());
    assert_eq!(shown(&flags_under(&none, changed_at(PAST_END))), RETROACTIVE);
}

#[test]
fn the_earlier_end_of_before_and_after_counts_and_an_absent_one_leaves_the_other() {
    let moved = |before: serde_json::Value, after: serde_json::Value| {
        let change = json!({"Quantity": 12, "modified_at": PAST_END, "period_end": after});
        let mut flags = found(vec![
            version(1, json!({"op": "create", "period_end": before})),
            version(2, change),
        ]);
        flags.retain(|flag| flag.starts_with("retroactive"));
        flags
    };
    assert_eq!(moved(json!("2026-02-22"), json!("2026-03-01")), RETROACTIVE);
    assert_eq!(moved(json!("2026-03-01"), json!("2026-02-22")), RETROACTIVE);
    assert_eq!(moved(json!("2026-02-22"), json!(null)), RETROACTIVE);
    assert_eq!(moved(json!(null), json!("2026-02-22")), RETROACTIVE);
    assert!(moved(json!("2026-03-01"), json!("2026-03-08")).is_empty());
    assert!(moved(json!(null), json!(null)).is_empty());
}

#[test]
fn a_cells_own_time_decides_whether_its_change_is_retroactive() {
    let edited = json!({"Quantity": 12, "modified_at": PAST_END,
        "column_edits": {"Quantity": {"modified_at": IN_TIME}}});
    assert!(found(vec![created(), version(2, edited)]).is_empty());
}

#[test]
fn a_sentence_names_the_calendars_period() {
    let sentence = |keys: &str| {
        let flags = flags_under(&rules_with(keys), changed_at("2026-03-02T15:00:00Z"));
        only(&flags, "retroactive_change").reason.clone()
    };
    let expected = |noun: &str| {
        format!(
            "Quantity of R-1 went from 10 to 12 on 2 March 2026, eight days after its {noun} ended on 22 February 2026; 190.00 USD"
        )
    };
    assert_eq!(
        sentence("calendar = { weeks_ending = \"sunday\" }"),
        expected("week")
    );
    assert_eq!(sentence("calendar = \"months\""), expected("month"));
    assert_eq!(sentence(""), expected("period"));
}

fn closed(time: &str) -> redline_schemas::fact::Fact {
    period("close", "2026-02-22", "closed", time)
}

#[test]
fn a_change_after_its_period_was_closed_is_retroactive_before_the_periods_end_too() {
    let close = closed("2026-02-20T12:00:00Z");
    assert!(
        found_with(
            [rules(RULES), close.clone()],
            changed_at("2026-02-20T11:59:59.999999Z")
        )
        .is_empty()
    );
    let knowledge = knowing([rules(RULES), close]);
    let flags = findings(&knowledge, changed_at("2026-02-20T12:00:00Z")).flags;
    assert_eq!(shown(&flags), RETROACTIVE);
    assert_eq!(
        flags[0].reason,
        "Quantity of R-1 went from 10 to 12 on 20 February 2026, after the period of 22 February 2026 was closed; 190.00 USD"
    );
    let details: Vec<(&str, &str)> = flags[0]
        .details
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        details,
        [
            ("attribution", "row"),
            ("closed_by", "close"),
            ("closed_period", "2026-02-22"),
            ("local_date", "2026-02-20"),
            ("timing", "modified"),
        ]
    );
}

#[test]
fn what_is_retroactive_by_end_and_by_close_says_both() {
    let knowledge = knowing([rules(RULES), closed("2026-02-23T00:00:00Z")]);
    let flags = findings(&knowledge, changed_at(PAST_END)).flags;
    assert_eq!(shown(&flags), RETROACTIVE, "it is one flag");
    assert_eq!(flags[0].details["days_late"], "1");
    assert_eq!(flags[0].details["closed_by"], "close");
    assert_eq!(
        flags[0].reason,
        "Quantity of R-1 went from 10 to 12 on 23 February 2026, one day after its period ended on 22 February 2026 \
         and after the period of 22 February 2026 was closed; 190.00 USD"
    );
}

#[test]
fn a_change_between_close_and_reopening_stays_retroactive_and_one_after_it_does_not() {
    let facts = || {
        [
            rules(RULES),
            closed("2026-02-19T00:00:00Z"),
            period("open", "2026-02-22", "open", "2026-02-20T00:00:00Z"),
        ]
    };
    assert_eq!(
        found_with(facts(), changed_at("2026-02-19T23:59:59Z")),
        RETROACTIVE
    );
    assert!(found_with(facts(), changed_at("2026-02-20T00:00:00Z")).is_empty());
    assert!(found_with(facts(), changed_at("2026-02-18T23:59:59Z")).is_empty());
}

#[test]
fn of_a_close_and_an_opening_at_one_instant_the_greatest_id_counts() {
    let both = |close: &str, open: &str| {
        let time = "2026-02-20T00:00:00Z";
        let facts = [
            rules(RULES),
            period(close, "2026-02-22", "closed", time),
            period(open, "2026-02-22", "open", time),
        ];
        found_with(facts, changed_at("2026-02-21T00:00:00Z"))
    };
    assert_eq!(both("b", "a"), RETROACTIVE);
    assert!(both("a", "b").is_empty());
}

#[test]
fn money_moved_out_of_a_closed_period_or_into_one_is_retroactive() {
    let moved = |before: &str, after: &str, source: &str| {
        let change = json!({"Quantity": 12, "modified_at": "2026-02-20T12:00:00Z", "period_end": after});
        let mut close = closed("2026-02-20T00:00:00Z");
        close.source = Some(source.into());
        let knowledge = knowing([rules(RULES), close]);
        let history = vec![
            version(1, json!({"op": "create", "period_end": before})),
            version(2, change),
        ];
        shown(&findings(&knowledge, history).flags)
    };
    let both = [
        "lock_change 2 period_end - LOW",
        "retroactive_change 2 Quantity 190 MEDIUM",
    ];
    assert_eq!(moved("2026-02-22", "2026-03-01", "billing"), both, "out of it");
    assert_eq!(moved("2026-03-01", "2026-02-22", "billing"), both, "into it");
    assert!(
        moved("2026-03-01", "2026-03-08", "billing").is_empty(),
        "another period"
    );
    assert!(
        moved("2026-02-22", "2026-03-01", "other").is_empty(),
        "another source"
    );
}

#[test]
fn a_closed_period_is_past_its_end_for_deletes_and_locks() {
    let deleted = vec![
        created(),
        version(2, json!({"op": "delete", "modified_at": "2026-02-20T12:00:00Z"})),
    ];
    let knowledge = knowing([rules(RULES), closed("2026-02-20T00:00:00Z")]);
    let flags = findings(&knowledge, deleted).flags;
    assert_eq!(shown(&flags), ["row_deleted 2 - -950 MEDIUM"]);
    assert_eq!(flags[0].details["closed_by"], "close");
    assert_eq!(
        flags[0].reason,
        "R-1 was deleted on 20 February 2026, after the period of 22 February 2026 was closed; -950.00 USD"
    );
}

#[test]
fn a_closed_month_closes_every_period_whose_last_day_lies_in_it() {
    let month = |month: &str| period("month", month, "closed", "2026-02-20T00:00:00Z");
    let open = |opened: &str| period("open", opened, "open", "2026-02-20T12:00:00Z");
    let day = || closed("2026-02-20T06:00:00Z");
    let by = |facts: Vec<Fact>, time: &str| {
        let knowledge = knowing(facts.into_iter().chain([rules(RULES)]));
        let flags = findings(&knowledge, changed_at(time)).flags;
        flags.first().map(|flag| flag.details["closed_by"].clone())
    };
    let after = "2026-02-21T00:00:00Z";
    for (facts, expected, why) in [
        (vec![month("2026-02")], Some("month"), "closed"),
        (vec![month("2026-03")], None, "another month"),
        (vec![month("2026-02"), open("2026-02")], None, "opened again"),
        (
            vec![month("2026-02"), open("2026-02-22")],
            Some("month"),
            "the day is open, but not the month",
        ),
        (
            vec![month("2026-02"), open("2026-02"), day()],
            Some("close"),
            "the month is open, but not the day",
        ),
        (
            vec![month("2026-02"), day()],
            Some("close"),
            "of both the day is named",
        ),
    ] {
        assert_eq!(by(facts, after).as_deref(), expected, "{why}");
    }
    assert_eq!(
        by(vec![month("2026-02")], "2026-02-19T23:59:59Z"),
        None,
        "not yet"
    );
}
