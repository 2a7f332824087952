//! What came of an approval, in words for whoever granted it.

use redline_schemas::person::is_same_person;
use redline_schemas::{Amount, ColumnValue, Timestamp};

use super::Approval;

/// A recorded change of the column that an approval is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The version that made it.
    pub version: i64,
    /// The value after, as text.
    pub after: Option<String>,
    /// Its impact in the row's currency.
    pub impact: Option<Amount>,
    /// Who made it.
    pub editor: Option<String>,
    /// When.
    pub modified_at: Timestamp,
    /// The id of the approval that it took.
    pub approval: Option<String>,
}

/// What came of an approval so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The change of this version took it.
    Used {
        /// The version.
        version: i64,
        /// Versions that made the same change again when it was used, so that it had no effect on them.
        again: Vec<i64>,
    },
    /// It can never have an effect, or had none on the changes that were made; why, one sentence a change.
    None {
        /// Why.
        reasons: Vec<String>,
    },
    /// No change of its column by its editor was made yet.
    Open,
}

impl Approval {
    /// What came of it, by the recorded changes of its column in its row.
    pub fn effect(&self, made: &[Made]) -> Effect {
        if let Some(used) = made.iter().find(|made| made.approval.as_ref() == Some(&self.id)) {
            let others = made.iter().filter(|other| {
                other.version != used.version && other.approval.is_none() && self.refusal(other).is_none()
            });
            return Effect::Used {
                version: used.version,
                again: others.map(|other| other.version).collect(),
            };
        }
        if is_same_person(&self.approver, &self.editor) {
            let reasons = vec!["its approver is its editor".to_owned()];
            return Effect::None { reasons };
        }
        let by_its_editor = made.iter().filter(|made| self.is_by_its_editor(made));
        let reasons: Vec<String> = by_its_editor
            .map(|made| {
                let why = self.refusal(made).unwrap_or_else(|| match &made.approval {
                    Some(other) => format!("took the approval {other}"),
                    None => "made another value of it, or is being judged again".to_owned(),
                });
                format!("version {} {why}", made.version)
            })
            .collect();
        match reasons.is_empty() {
            true => Effect::Open,
            false => Effect::None { reasons },
        }
    }

    fn is_by_its_editor(&self, made: &Made) -> bool {
        let editor = made.editor.as_deref();
        editor.is_some_and(|editor| editor.eq_ignore_ascii_case(&self.editor))
    }

    /// Why it does not fit a change of its column, as the rest of a sentence about the version; none when it fits.
    fn refusal(&self, made: &Made) -> Option<String> {
        if !self.is_by_its_editor(made) {
            return Some("is by somebody else".to_owned());
        }
        let time = made.modified_at;
        if time < self.effective_at {
            return Some(format!(
                "was made at {time}, before the approval was granted at {}",
                self.effective_at
            ));
        }
        if let Some(from) = self.valid_from.filter(|from| time < *from) {
            return Some(format!(
                "was made at {time}, before the approval is valid from {from}"
            ));
        }
        if let Some(until) = self.valid_until.filter(|until| *until <= time) {
            return Some(format!(
                "was made at {time}, when the approval was no longer valid (until {until})"
            ));
        }
        if self.value != ColumnValue::Null && !self.is_value(made.after.as_deref()) {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            let (after, value) = (shown(made.after.clone()), shown(self.value.to_text()));
            return Some(format!("made it {after}, and {value} was approved"));
        }
        if let Some(ceiling) = self.ceiling {
            match made.impact {
                None => {
                    return Some(format!("has no known impact, and up to {ceiling} was approved"));
                }
                Some(impact) if impact.abs() > ceiling => {
                    return Some(format!(
                        "has an impact of {impact}, and up to {ceiling} was approved"
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Amounts are compared by value, other text to the letter.
    fn is_value(&self, after: Option<&str>) -> bool {
        let value = self.value.to_text();
        let amount = |text: &str| text.parse::<Amount>().ok();
        match (value.as_deref(), after) {
            (Some(value), Some(after)) => {
                value == after || amount(value).is_some_and(|value| amount(after) == Some(value))
            }
            (value, after) => value == after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn approval() -> Approval {
        Approval {
            id: "a".into(),
            effective_at: at("2026-03-01T00:00:00Z"),
            source: "billing".into(),
            row_id: "R-1".into(),
            column: "Quantity".into(),
            editor: "ann".into(),
            approver: "eve".into(),
            valid_from: None,
            valid_until: Some(at("2026-03-05T00:00:00Z")),
            value: ColumnValue::Text("12.0".into()),
            ceiling: "200".parse().ok(),
        }
    }

    fn made(time: &str, after: &str, impact: &str) -> Made {
        Made {
            version: 7,
            after: Some(after.into()),
            impact: impact.parse().ok(),
            editor: Some("Ann".into()),
            modified_at: at(time),
            approval: None,
        }
    }

    fn said(approval: &Approval, made: Made) -> String {
        match approval.effect(&[made]) {
            Effect::None { reasons } => reasons.join("; "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn an_approval_that_was_taken_names_the_version() {
        let taken = Made {
            approval: Some("a".into()),
            ..made("2026-03-02T00:00:00Z", "12", "10")
        };
        let again = Made {
            version: 9,
            ..made("2026-03-03T00:00:00Z", "12", "10")
        };
        let late = Made {
            version: 10,
            ..made("2026-03-06T00:00:00Z", "12", "10")
        };
        assert_eq!(
            approval().effect(&[taken, again, late]),
            Effect::Used {
                version: 7,
                again: vec![9]
            },
            "a second change that it would fit finds it used"
        );
    }

    #[test]
    fn an_approval_whose_change_is_not_made_yet_is_open() {
        assert_eq!(approval().effect(&[]), Effect::Open);
        let by_another = Made {
            editor: None,
            ..made("2026-03-02T00:00:00Z", "12", "10")
        };
        assert_eq!(approval().effect(&[by_another]), Effect::Open);
    }

    #[test]
    fn an_approval_without_effect_says_why() {
        let itself = Approval {
            approver: "ANN".into(),
            ..approval()
        };
        assert_eq!(
            said(&itself, made("2026-03-02T00:00:00Z", "12", "10")),
            "its approver is its editor"
        );
        for (change, reason) in [
            (
                made("2026-02-28T00:00:00Z", "12", "10"),
                "before the approval was granted at 2026-03-01T00:00:00Z",
            ),
            (
                made("2026-03-05T00:00:00Z", "12", "10"),
                "no longer valid (until 2026-03-05T00:00:00Z)",
            ),
            (
                made("2026-03-02T00:00:00Z", "13", "10"),
                "version 7 made it 13, and 12.0 was approved",
            ),
            (
                made("2026-03-02T00:00:00Z", "12", "-200.01"),
                "has an impact of -200.01, and up to 200",
            ),
            (made("2026-03-02T00:00:00Z", "12", ""), "has no known impact"),
        ] {
            let said = said(&approval(), change);
            assert!(said.contains(reason), "{said}");
        }
        let taken = Made {
            approval: Some("b".into()),
            ..made("2026-03-02T00:00:00Z", "12", "10")
        };
        assert_eq!(said(&approval(), taken), "version 7 took the approval b");
    }
}
