//! `redline report completeness`

use std::fmt::Write as _;
use std::io::Write as _;

use indicatif::HumanCount;
use redline_schemas::Timestamp;
use redline_store::completeness::{self, Completeness, Gap, PeriodSum, SourceCount, TopicTotals};
use redline_store::read_only_connection;
use serde_json::{Value, json};

use crate::commands::{counted, spinner};
use crate::settings::Settings;

/// Reports it; answers whether something is known to be missing.
pub(super) async fn report(settings: &Settings, period: &str, json: bool) -> anyhow::Result<bool> {
    let bar = spinner()?;
    bar.set_message("reading what was recorded");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let mut connection = read_only_connection(settings.database.url(), "report").await?;
    let found = completeness::of_month(&mut connection, period).await?;
    bar.finish_and_clear();
    let now = Timestamp::now();
    let mut out = std::io::stdout();
    match json {
        true => writeln!(out, "{}", to_json(period, now, &found))?,
        false => write!(out, "{}", told(period, now, &found))?,
    }
    Ok(!found.is_complete())
}

fn told(period: &str, now: Timestamp, found: &Completeness) -> String {
    let mut text = format!("Completeness of {period}, as of {now}\n\nRead so far, of all periods:\n\n");
    if found.topics.is_empty() {
        text.push_str("  nothing\n");
    } else {
        let _ = writeln!(
            text,
            "  {:<18}{:>12}{:>8}{:>11}{:>11}{:>11}{:>7}",
            "topic", "partitions", "ranges", "read", "accepted", "duplicate", "quar."
        );
    }
    for TopicTotals {
        topic,
        partitions,
        ranges,
        read,
        accepted,
        duplicate,
        quarantined,
    } in &found.topics
    {
        let [partitions, ranges, read, accepted, duplicate, quarantined] =
            [partitions, ranges, read, accepted, duplicate, quarantined].map(|number| human(*number));
        let _ = writeln!(
            text,
            "  {topic:<18}{partitions:>12}{ranges:>8}{read:>11}{accepted:>11}{duplicate:>11}{quarantined:>7}"
        );
    }
    let _ = write!(text, "\nOf {period}, records with an amount:\n\n");
    if found.sums.is_empty() {
        text.push_str("  none\n");
    }
    for PeriodSum {
        topic,
        period,
        currency,
        outcome,
        records,
        amount,
    } in &found.sums
    {
        let _ = writeln!(
            text,
            "  {topic:<18}{period:<12}{:<5}{outcome:<12}{:>9}{amount:>22}",
            currency.as_deref().unwrap_or("-"),
            human(*records)
        );
    }
    let _ = write!(text, "\nOf {period}, by source:\n\n");
    if found.sources.is_empty() {
        text.push_str("  none\n");
    }
    for SourceCount {
        entity_type,
        source,
        entities,
        events,
    } in &found.sources
    {
        let versions = format!("{} accepted", human(*events));
        let _ = writeln!(
            text,
            "  {entity_type:<8}{source:<32}{:>12}{versions:>22}",
            human(*entities)
        );
    }
    if found.removed > 0 {
        let removed = human(found.removed);
        let _ = writeln!(
            text,
            "\n  Not in this: {removed} contents, of whatever period, that retention removed"
        );
    }
    text.push_str("\nKnown to be missing, of whatever period:\n\n");
    for gap in &found.gaps {
        let _ = writeln!(text, "  {}", lost(gap));
    }
    if found.quarantined > 0 {
        let records = counted(found.quarantined, "record waits", "records wait");
        let _ = writeln!(text, "  {records} in quarantine: `redline quarantine list`");
    }
    if found.stopped > 0 {
        let partitions = counted(found.stopped, "partition is", "partitions are");
        let _ = writeln!(text, "  {partitions} stopped: `redline position list`");
    }
    if found.is_complete() {
        text.push_str("  nothing\n");
    }
    text
}

fn human(number: i64) -> String {
    HumanCount(number.unsigned_abs()).to_string()
}

fn lost(gap: &Gap) -> String {
    let Gap {
        topic,
        partition,
        first_offset,
        reason,
        accepted_by,
        ..
    } = gap;
    let until = match gap.next_offset {
        Some(next) => format!("offsets {first_offset} to {}", next - 1),
        None => format!("unknown many offsets from {first_offset} on"),
    };
    format!("{topic}, partition {partition}: {until}\n    ({reason}), accepted by {accepted_by}")
}

fn to_json(period: &str, now: Timestamp, found: &Completeness) -> Value {
    let topics = found.topics.iter().map(|topic| {
        json!({
            "topic": topic.topic,
            "partitions": topic.partitions,
            "ranges": topic.ranges,
            "read": topic.read,
            "accepted": topic.accepted,
            "duplicate": topic.duplicate,
            "quarantined": topic.quarantined,
        })
    });
    let sums = found.sums.iter().map(|sum| {
        json!({
            "topic": sum.topic,
            "period": sum.period,
            "currency": sum.currency,
            "outcome": sum.outcome,
            "records": sum.records,
            "amount": sum.amount,
        })
    });
    let sources = found.sources.iter().map(|source| {
        json!({
            "entity_type": source.entity_type,
            "source": source.source,
            "entities": source.entities,
            "events": source.events,
        })
    });
    let gaps = found.gaps.iter().map(|gap| {
        json!({
            "topic": gap.topic,
            "partition": gap.partition,
            "first_offset": gap.first_offset,
            "next_offset": gap.next_offset,
            "reason": gap.reason,
            "accepted_by": gap.accepted_by,
            "accepted_at": gap.accepted_at.map(|time| time.to_string()),
        })
    });
    json!({
        "period": period,
        "as_of": now.to_string(),
        "complete": found.is_complete(),
        "topics": topics.collect::<Vec<_>>(),
        "sums": sums.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "gaps": gaps.collect::<Vec<_>>(),
        "quarantined": found.quarantined,
        "stopped_partitions": found.stopped,
        "removed_by_retention": found.removed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Completeness {
        let sum = |period: &str, currency: Option<&str>, outcome: &str, records, amount: &str| PeriodSum {
            topic: "redline.rows".to_owned(),
            period: period.to_owned(),
            currency: currency.map(str::to_owned),
            outcome: outcome.to_owned(),
            records,
            amount: amount.to_owned(),
        };
        Completeness {
            topics: vec![TopicTotals {
                topic: "redline.rows".to_owned(),
                partitions: 12,
                ranges: 3_450,
                read: 12_345_678,
                accepted: 12_000_000,
                duplicate: 345_676,
                quarantined: 2,
            }],
            sums: vec![
                sum("2026-03-01", None, "accepted", 3, "12.5"),
                sum(
                    "2026-03-08",
                    Some("USD"),
                    "duplicate",
                    1_000,
                    "-1234567.890000001",
                ),
            ],
            sources: vec![SourceCount {
                entity_type: "row".to_owned(),
                source: "billing".to_owned(),
                entities: 10_184,
                events: 61_179,
            }],
            gaps: vec![Gap {
                topic: "redline.rows".to_owned(),
                partition: 3,
                first_offset: 10,
                next_offset: Some(25),
                reason: "log_start_past_position".to_owned(),
                accepted_by: "ann".to_owned(),
                accepted_at: None,
            }],
            quarantined: 2,
            stopped: 1,
            removed: 1_250_000,
        }
    }

    #[test]
    fn a_report_fits_eighty_columns_and_says_what_is_missing() {
        let now = Timestamp::parse("2026-04-02T08:00:00Z").unwrap();
        let text = told("2026-03", now, &some());
        let too_long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(too_long.is_empty(), "{too_long:#?}");
        insta::assert_snapshot!(text);
        insta::assert_snapshot!(told("2026-03", now, &Completeness::default()));
    }

    #[test]
    fn programs_read_the_same_as_people() {
        let now = Timestamp::parse("2026-04-02T08:00:00Z").unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&to_json("2026-03", now, &some())).unwrap());
    }
}
