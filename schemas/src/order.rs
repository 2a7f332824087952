//! Order events: the state of one order at one version.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::canonical::Object;
use crate::check::{self, Checked, FieldError};
use crate::json::Fields;
use crate::time::Timestamp;

/// The states of an order.
pub const STATUSES: [&str; 6] = ["created", "paid", "shipped", "delivered", "cancelled", "refunded"];

/// The state of one order at one version. Key: `{order_id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderEvent {
    /// The order's id.
    pub order_id: String,
    /// Higher with each status.
    #[serde(default)]
    pub version: i64,
    /// Who orders.
    pub customer_id: String,
    /// Amount of the order, in `currency`.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// When the order was placed.
    pub created_at: Timestamp,
    /// When this version was made.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// Who sells.
    #[serde(default)]
    pub merchant_id: Option<String>,
    /// Card or account that pays, as the producer names it.
    #[serde(default)]
    pub instrument: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(default)]
    pub billing_country: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(default)]
    pub origin_country: Option<String>,
    /// The legal entity that the order belongs to.
    #[serde(default)]
    pub legal_entity: Option<String>,
}

impl OrderEvent {
    pub(crate) fn from_fields(mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let event = Self {
            order_id: fields.text("order_id")?,
            version: fields.optional_integer("version")?.unwrap_or(0),
            customer_id: fields.text("customer_id")?,
            amount: fields.amount("amount")?,
            currency: fields.text("currency")?,
            status: fields.text("status")?,
            created_at: fields.time("created_at")?,
            updated_at: fields.optional_time("updated_at")?,
            merchant_id: fields.optional_text("merchant_id")?,
            instrument: fields.optional_text("instrument")?,
            billing_country: fields.optional_text("billing_country")?,
            origin_country: fields.optional_text("origin_country")?,
            legal_entity: fields.optional_text("legal_entity")?,
        };
        fields.finish()?;
        Ok(event)
    }

    pub(crate) fn check(&self) -> Checked {
        check::id("order_id", &self.order_id)?;
        check::version(self.version)?;
        check::id("customer_id", &self.customer_id)?;
        check::currency(&self.currency)?;
        check::word("status", &self.status, &STATUSES)?;
        check::time("created_at", self.created_at)?;
        check::optional_time("updated_at", self.updated_at)?;
        check::optional_id("merchant_id", self.merchant_id.as_deref())?;
        check::optional_id("instrument", self.instrument.as_deref())?;
        check::optional_country("billing_country", self.billing_country.as_deref())?;
        check::optional_country("origin_country", self.origin_country.as_deref())?;
        check::optional_id("legal_entity", self.legal_entity.as_deref())
    }

    pub(crate) fn write_canonical(&self, object: &mut Object<'_>) {
        object.amount("amount", self.amount);
        object.optional_text("billing_country", self.billing_country.as_deref());
        object.time("created_at", self.created_at);
        object.text("currency", &self.currency);
        object.text("customer_id", &self.customer_id);
        object.optional_text("instrument", self.instrument.as_deref());
        object.optional_text("legal_entity", self.legal_entity.as_deref());
        object.optional_text("merchant_id", self.merchant_id.as_deref());
        object.text("order_id", &self.order_id);
        object.optional_text("origin_country", self.origin_country.as_deref());
        object.text("status", &self.status);
        object.optional_quoted("updated_at", self.updated_at);
        object.bare("version", self.version);
    }
}
