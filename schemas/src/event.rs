//! What rows, payouts, orders and facts have in common: an entity, a version, a content.

use std::fmt;

use crate::canonical::Object;
use crate::check::{Checked, FieldError};
use crate::fact::Fact;
use crate::json::Fields;
use crate::order::OrderEvent;
use crate::payout::PayoutEvent;
use crate::row::RowEvent;
use crate::time::Timestamp;

/// The three kinds of events, and facts, which travel and are recorded like them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventKind {
    /// Billing rows.
    Row,
    /// Payouts.
    Payout,
    /// Orders.
    Order,
    /// Facts.
    Fact,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Row, Self::Payout, Self::Order, Self::Fact];

    /// The entity type of the kind: `row`, `payout`, `order` or `fact`.
    pub fn entity_type(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Payout => "payout",
            Self::Order => "order",
            Self::Fact => "fact",
        }
    }

    /// The kind of an entity type.
    pub fn from_entity_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.entity_type() == text)
    }
}

/// An event of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The state of a row.
    Row(RowEvent),
    /// A reported payout.
    Payout(PayoutEvent),
    /// The state of an order.
    Order(OrderEvent),
    /// A recorded statement.
    Fact(Box<Fact>),
}

/// What an event is about: type, source and id. The order is that in which entities are locked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntityKey {
    /// The type of the entity.
    pub kind: EventKind,
    /// The source, the system for payouts, `orders` for orders, the kind for facts.
    pub source: String,
    /// The id in the source.
    pub entity_id: String,
}

impl EntityKey {
    /// The Kafka key of the entity's events.
    pub fn kafka_key(&self) -> String {
        match self.kind {
            EventKind::Order => self.entity_id.clone(),
            EventKind::Row | EventKind::Payout | EventKind::Fact => {
                format!("{}/{}", self.source, self.entity_id)
            }
        }
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}/{}",
            self.kind.entity_type(),
            self.source,
            self.entity_id
        )
    }
}

impl Event {
    /// Reads one JSON object as the HTTP door takes it, and checks it.
    ///
    /// # Errors
    /// The field that is not as the contract says.
    pub fn from_json(kind: EventKind, text: &str) -> Result<Self, FieldError> {
        let fields = Fields::parse(text)?;
        let event = match kind {
            EventKind::Row => Self::Row(RowEvent::from_fields(fields, None)?),
            EventKind::Payout => Self::Payout(PayoutEvent::from_fields(fields)?),
            EventKind::Order => Self::Order(OrderEvent::from_fields(fields)?),
            EventKind::Fact => Self::Fact(Box::new(Fact::from_fields(fields)?)),
        };
        event.check()?;
        Ok(event)
    }

    /// Reads a canonical form that was recorded; `observed_at` stands beside it, for rows only.
    ///
    /// # Errors
    /// The field that cannot be read; the recorded content is then damaged.
    pub fn from_canonical(
        kind: EventKind,
        text: &str,
        observed_at: Option<Timestamp>,
    ) -> Result<Self, FieldError> {
        let fields = Fields::parse(text)?;
        match kind {
            EventKind::Row => {
                let observed_at = observed_at.ok_or_else(|| FieldError::new("observed_at", "is missing"))?;
                RowEvent::from_fields(fields, Some(observed_at)).map(Self::Row)
            }
            EventKind::Payout => PayoutEvent::from_fields(fields).map(Self::Payout),
            EventKind::Order => OrderEvent::from_fields(fields).map(Self::Order),
            EventKind::Fact => Fact::from_fields(fields).map(|fact| Self::Fact(Box::new(fact))),
        }
    }

    /// Checks every limit of the contract.
    ///
    /// # Errors
    /// The first field that is not as the contract says.
    pub fn check(&self) -> Checked {
        match self {
            Self::Row(row) => row.check(),
            Self::Payout(payout) => payout.check(),
            Self::Order(order) => order.check(),
            Self::Fact(fact) => fact.check(),
        }
    }

    /// The kind of event.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Row(_) => EventKind::Row,
            Self::Payout(_) => EventKind::Payout,
            Self::Order(_) => EventKind::Order,
            Self::Fact(_) => EventKind::Fact,
        }
    }

    /// The source, the system for payouts, `orders` for orders, the kind for facts.
    pub fn source(&self) -> &str {
        match self {
            Self::Row(row) => &row.source,
            Self::Payout(payout) => &payout.system,
            Self::Order(_) => "orders",
            Self::Fact(fact) => &fact.kind,
        }
    }

    /// What the event is about.
    pub fn entity(&self) -> EntityKey {
        let entity_id = match self {
            Self::Row(row) => &row.row_id,
            Self::Payout(payout) => &payout.payout_id,
            Self::Order(order) => &order.order_id,
            Self::Fact(fact) => &fact.id,
        };
        EntityKey {
            kind: self.kind(),
            source: self.source().to_owned(),
            entity_id: entity_id.clone(),
        }
    }

    /// The version, from 0.
    pub fn version(&self) -> i64 {
        match self {
            Self::Row(row) => row.version,
            Self::Payout(payout) => payout.version,
            Self::Order(order) => order.version,
            Self::Fact(fact) => fact.version,
        }
    }

    /// When the source says that this version was made; rows only.
    pub fn modified_at(&self) -> Option<Timestamp> {
        match self {
            Self::Row(row) => row.modified_at,
            Self::Payout(_) | Self::Order(_) | Self::Fact(_) => None,
        }
    }

    /// When the collector saw this version; rows only.
    pub fn observed_at(&self) -> Option<Timestamp> {
        match self {
            Self::Row(row) => Some(row.observed_at),
            Self::Payout(_) | Self::Order(_) | Self::Fact(_) => None,
        }
    }

    /// The event's own time, by which the watermark advances.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Row(row) => row.modified_at.unwrap_or(row.observed_at),
            Self::Payout(payout) => payout.reported_at,
            Self::Order(order) => order.created_at,
            Self::Fact(fact) => fact.effective_at,
        }
    }

    /// The content, every field but `observed_at`, in canonical form.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(384);
        let mut object = Object::open(&mut out);
        match self {
            Self::Row(row) => row.write_canonical(&mut object),
            Self::Payout(payout) => payout.write_canonical(&mut object),
            Self::Order(order) => order.write_canonical(&mut object),
            Self::Fact(fact) => fact.write_canonical(&mut object),
        }
        object.close();
        out
    }
}
