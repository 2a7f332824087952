//! What was found, as lines for people or one JSON object for programs.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use indicatif::ProgressBar;

use super::PATIENCE;
use crate::commands::{counted, spinner};

/// Columns of every terminal.
const WIDTH: usize = 80;
/// Where what was found begins.
const INDENT: usize = 19;

/// What a check came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Result {
    Ok,
    /// It works, and is not as it should be.
    Warning,
    Failed,
    /// It was not asked.
    Skipped,
}

impl Result {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Its colour as a terminal takes it.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Failed => "\x1b[31m",
            Self::Skipped => "\x1b[2m",
        }
    }
}

/// What a check found, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) result: Result,
    found: String,
    fix: Option<String>,
}

impl Outcome {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self {
            result: Result::Ok,
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn warning(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            result: Result::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn failed(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            result: Result::Failed,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self {
            result: Result::Skipped,
            found: why.into(),
            fix: None,
        }
    }

    /// Waits for a question no longer than is settled.
    pub(super) async fn within(patience: Duration, asked: impl Future<Output = Self>, fix: &str) -> Self {
        match tokio::time::timeout(patience, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Self::failed(format!("no answer within {} s", patience.as_secs()), fix),
        }
    }
}

struct Check {
    service: &'static str,
    name: String,
    outcome: Outcome,
}

/// What was found so far. Lines are said at once; the JSON object at the end.
pub(super) struct Report {
    checks: Vec<Check>,
    json: bool,
    colours: bool,
    bar: ProgressBar,
}

impl Report {
    pub(super) fn new(json: bool) -> anyhow::Result<Self> {
        let out = std::io::stdout();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let bar = spinner()?;
        bar.set_message("settings");
        bar.enable_steady_tick(Duration::from_millis(100));
        Ok(Self {
            checks: Vec::new(),
            json,
            colours: out.is_terminal() && !is_plain,
            bar,
        })
    }

    /// Asks, shows meanwhile what is asked, and says what was found; answers what the check came to.
    pub(super) async fn ask(
        &mut self,
        service: &'static str,
        name: &str,
        fix: &str,
        asked: impl Future<Output = Outcome>,
    ) -> anyhow::Result<Result> {
        self.bar.set_message(format!("{service} {name}"));
        let outcome = Outcome::within(PATIENCE, asked, fix).await;
        self.say(service, name, outcome)
    }

    /// Says what was found; answers what the check came to.
    pub(super) fn say(
        &mut self,
        service: &'static str,
        name: &str,
        outcome: Outcome,
    ) -> anyhow::Result<Result> {
        let check = Check {
            service,
            name: name.to_owned(),
            outcome,
        };
        let result = check.outcome.result;
        if !self.json {
            let text = shown(&check, self.colours);
            self.bar
                .suspend(|| std::io::stdout().write_all(text.as_bytes()))?;
        }
        self.checks.push(check);
        Ok(result)
    }

    /// Says the end; answers whether something has to be mended.
    pub(super) fn end(self) -> anyhow::Result<bool> {
        self.bar.finish_and_clear();
        let failed = self.count(Result::Failed) > 0;
        let mut out = std::io::stdout();
        if self.json {
            writeln!(out, "{}", self.to_json())?;
        } else {
            writeln!(out, "\n{}", self.summary())?;
        }
        Ok(failed)
    }

    fn count(&self, result: Result) -> usize {
        let same = |check: &&Check| check.outcome.result == result;
        self.checks.iter().filter(same).count()
    }

    fn summary(&self) -> String {
        let some = |result: Result| match self.count(result) {
            0 => None,
            count => Some(format!("{count} {}", result.word())),
        };
        let parts: Vec<String> = [Result::Ok, Result::Warning, Result::Failed, Result::Skipped]
            .into_iter()
            .filter_map(some)
            .collect();
        let checks = u64::try_from(self.checks.len()).unwrap_or(u64::MAX);
        format!("{}: {}", counted(checks, "check", "checks"), parts.join(", "))
    }

    fn to_json(&self) -> serde_json::Value {
        let checks: Vec<serde_json::Value> = self
            .checks
            .iter()
            .map(|check| {
                serde_json::json!({
                    "service": check.service,
                    "check": check.name,
                    "result": check.outcome.result.word(),
                    "found": check.outcome.found,
                    "fix": check.outcome.fix,
                })
            })
            .collect();
        serde_json::json!({"healthy": self.count(Result::Failed) == 0, "checks": checks})
    }
}

/// A check as lines of a terminal: the result, the service, what was found, and below it what to do.
fn shown(check: &Check, colours: bool) -> String {
    let result = check.outcome.result;
    let word = format!("{:<8}", result.word());
    let word = match colours {
        true => format!("{}{word}\x1b[0m", result.colour()),
        false => word,
    };
    let mut text = format!("{word} {:<9} ", check.service);
    text.push_str(&wrapped(
        &format!("{}: {}", check.name, check.outcome.found),
        INDENT,
    ));
    if let Some(fix) = &check.outcome.fix {
        text.push_str(&" ".repeat(INDENT));
        text.push_str("-> ");
        text.push_str(&wrapped(fix, INDENT + 3));
    }
    text
}

/// A text in lines, of which all but the first are indented; the first stands behind so much already. Words that are longer
/// than a line are not broken, so that they can be copied.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (place, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if place > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if place > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        let check = |service, name: &str, outcome| Check {
            service,
            name: name.to_owned(),
            outcome,
        };
        vec![
            check("settings", "file", Outcome::ok("configs/redline.toml")),
            check(
                "kafka",
                "topic redline.rows",
                Outcome::failed(
                    "is compacted, which loses all but the latest record of a key, and with it what changed",
                    "set its cleanup.policy to delete: kafka-configs.sh --alter --entity-type topics --entity-name \
                     redline.rows --add-config cleanup.policy=delete",
                ),
            ),
            check(
                "redis",
                "memory",
                Outcome::warning("maxmemory is reached", "set maxmemory-policy to allkeys-lru"),
            ),
            check("record", "outbox", Outcome::skipped("Postgres cannot be used")),
        ]
    }

    fn report() -> Report {
        Report {
            checks: checks(),
            json: false,
            colours: false,
            bar: ProgressBar::hidden(),
        }
    }

    #[test]
    fn what_was_found_is_readable_on_eighty_columns_without_colour() {
        let lines: String = checks().iter().map(|check| shown(check, false)).collect();
        assert!(!lines.contains('\x1b'));
        let too_long = |line: &&str| line.chars().count() > WIDTH;
        assert_eq!(lines.lines().filter(too_long).count(), 0, "{lines}");
        insta::assert_snapshot!(format!("{lines}\n{}", report().summary()));
    }

    #[test]
    fn colour_changes_nothing_but_the_word() {
        for check in checks() {
            let coloured = shown(&check, true);
            let plain = coloured
                .replace(check.outcome.result.colour(), "")
                .replace("\x1b[0m", "");
            assert_eq!(plain, shown(&check, false));
        }
    }

    #[test]
    fn programs_read_the_same_as_people() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&report().to_json()).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_without_an_answer_ends_in_time() {
        let outcome = Outcome::within(PATIENCE, std::future::pending(), "look at it").await;
        assert_eq!(outcome, Outcome::failed("no answer within 5 s", "look at it"));
    }
}
