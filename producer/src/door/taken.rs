//! What a path of the door takes: a kind of events, or a kind of facts that others say.

use redline_domain::facts;
use redline_schemas::fact::Fact;
use redline_schemas::{Event, EventKind, FieldError};
use redline_store::keys::StoredKey;

/// What a path takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Rows,
    Payouts,
    Orders,
    Approvals,
    Periods,
    Outcomes,
}

impl Taken {
    /// Each with its path.
    pub(crate) const PATHS: [(&'static str, Self); 6] = [
        ("/v1/rows", Self::Rows),
        ("/v1/payouts", Self::Payouts),
        ("/v1/orders", Self::Orders),
        ("/v1/approvals", Self::Approvals),
        ("/v1/periods", Self::Periods),
        ("/v1/outcomes", Self::Outcomes),
    ];

    /// The kind of event, by which topic and schema are found.
    pub(crate) fn kind(self) -> EventKind {
        match self {
            Self::Rows => EventKind::Row,
            Self::Payouts => EventKind::Payout,
            Self::Orders => EventKind::Order,
            Self::Approvals | Self::Periods | Self::Outcomes => EventKind::Fact,
        }
    }

    /// One of them in a word: the entity type of an event, the kind of a fact.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rows | Self::Payouts | Self::Orders => self.kind().entity_type(),
            Self::Approvals => "approval",
            Self::Periods => "period",
            Self::Outcomes => "outcome",
        }
    }

    /// The scope that opens the path.
    pub(crate) fn scope(self) -> &'static str {
        match self {
            Self::Rows | Self::Payouts | Self::Orders => "rows",
            Self::Approvals => "approvals",
            Self::Periods | Self::Outcomes => "facts",
        }
    }

    /// Whether a key that is bound to a source can open the path at all.
    pub(crate) fn has_source(self) -> bool {
        !matches!(self, Self::Orders | Self::Outcomes)
    }

    /// Reads and checks one JSON object, with what there is to say although it is taken.
    pub(crate) fn read(self, text: &str, key: &StoredKey) -> Result<(Event, Option<FieldError>), FieldError> {
        let kind = self.kind();
        if kind != EventKind::Fact {
            return Ok((Event::from_json(kind, text)?, None));
        }
        let mut fact = Fact::said(text, self.name(), &key.name)?;
        // Ids are shared by all sources. Those that a key of one source says are that source's own, so that they can never
        // replace, now or later, what somebody says about another one.
        if let Some(only) = &key.source
            && !fact
                .id
                .strip_prefix(only.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        {
            fact.id = format!("{only}/{}", fact.id);
        }
        fact.check()?;
        facts::check(&fact)?;
        let warning = fact
            .approves_itself()
            .then(|| FieldError::new("approver", "is the editor: the approval has no effect"));
        Ok((Event::Fact(Box::new(fact)), warning))
    }
}
