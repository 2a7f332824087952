//! Payout events: one payout as one system reports it.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::canonical::Object;
use crate::check::{self, Checked, FieldError};
use crate::json::Fields;
use crate::time::Timestamp;

/// The document and line that a payout was read from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// The document's name.
    pub name: String,
    /// SHA-256 of its raw bytes: 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// Line, from 1.
    pub line: i64,
}

/// One payout as one system reports it. Key: `{system}/{payout_id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PayoutEvent {
    /// The reporting system: 1 to 200 characters, no `/`.
    pub system: String,
    /// The payout's id in that system.
    pub payout_id: String,
    /// The higher is the newer.
    #[serde(default)]
    pub version: i64,
    /// Month of the payment, `YYYY-MM`.
    pub period: String,
    /// Amount paid, in `currency`.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// When the system reported it.
    pub reported_at: Timestamp,
    /// The platform's channel.
    #[serde(default)]
    pub channel_id: Option<String>,
    /// The rights owner's own id.
    #[serde(default)]
    pub custom_id: Option<String>,
    /// The platform's asset.
    #[serde(default)]
    pub asset_id: Option<String>,
    /// Kind of adjustment; absent for ordinary revenue.
    #[serde(default)]
    pub adjustment_type: Option<String>,
    /// Month that an adjustment belongs to, `YYYY-MM`.
    #[serde(default)]
    pub earned_period: Option<String>,
    /// Where it was read from.
    #[serde(default)]
    pub document: Option<Document>,
    /// The legal entity that the payout belongs to.
    #[serde(default)]
    pub legal_entity: Option<String>,
}

impl PayoutEvent {
    pub(crate) fn from_fields(mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let event = Self {
            system: fields.text("system")?,
            payout_id: fields.text("payout_id")?,
            version: fields.optional_integer("version")?.unwrap_or(0),
            period: fields.text("period")?,
            amount: fields.amount("amount")?,
            currency: fields.text("currency")?,
            reported_at: fields.time("reported_at")?,
            channel_id: fields.optional_text("channel_id")?,
            custom_id: fields.optional_text("custom_id")?,
            asset_id: fields.optional_text("asset_id")?,
            adjustment_type: fields.optional_text("adjustment_type")?,
            earned_period: fields.optional_text("earned_period")?,
            document: match fields.optional_object("document")? {
                None => None,
                Some(mut inner) => {
                    let document = Document {
                        name: inner.text("name")?,
                        sha256: inner.text("sha256")?,
                        line: inner.integer("line")?,
                    };
                    inner.finish()?;
                    Some(document)
                }
            },
            legal_entity: fields.optional_text("legal_entity")?,
        };
        fields.finish()?;
        Ok(event)
    }

    pub(crate) fn check(&self) -> Checked {
        check::source_id("system", &self.system)?;
        check::id("payout_id", &self.payout_id)?;
        check::version(self.version)?;
        check::month("period", &self.period)?;
        check::currency(&self.currency)?;
        check::time("reported_at", self.reported_at)?;
        for (field, value) in [
            ("channel_id", &self.channel_id),
            ("custom_id", &self.custom_id),
            ("adjustment_type", &self.adjustment_type),
            ("legal_entity", &self.legal_entity),
        ] {
            check::optional_id(field, value.as_deref())?;
        }
        if let Some(asset_id) = &self.asset_id {
            check_asset_id(asset_id)?;
        }
        self.earned_period
            .as_deref()
            .map_or(Ok(()), |month| check::month("earned_period", month))?;
        self.document.as_ref().map_or(Ok(()), Document::check)
    }

    pub(crate) fn write_canonical(&self, object: &mut Object<'_>) {
        object.optional_text("adjustment_type", self.adjustment_type.as_deref());
        object.amount("amount", self.amount);
        object.optional_text("asset_id", self.asset_id.as_deref());
        object.optional_text("channel_id", self.channel_id.as_deref());
        object.text("currency", &self.currency);
        object.optional_text("custom_id", self.custom_id.as_deref());
        if let Some(document) = &self.document {
            object.object("document", |inner| {
                inner.bare("line", document.line);
                inner.text("name", &document.name);
                inner.text("sha256", &document.sha256);
            });
        }
        object.optional_text("earned_period", self.earned_period.as_deref());
        object.optional_text("legal_entity", self.legal_entity.as_deref());
        object.text("payout_id", &self.payout_id);
        object.text("period", &self.period);
        object.time("reported_at", self.reported_at);
        object.text("system", &self.system);
        object.bare("version", self.version);
    }
}

/// User-generated rows join several asset ids by `|`; each of them is an id.
fn check_asset_id(text: &str) -> Checked {
    const MAX_BYTES: usize = 16 * 1024;
    if text.len() > MAX_BYTES {
        return Err(FieldError::new("asset_id", "is longer than 16 KiB"));
    }
    text.split('|').try_for_each(|part| check::id("asset_id", part))
}

impl Document {
    fn check(&self) -> Checked {
        check::id("document.name", &self.name)?;
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.sha256.len() != 64 || !self.sha256.bytes().all(hexadecimal) {
            return Err(FieldError::new(
                "document.sha256",
                "is not 64 hexadecimal digits in lower case",
            ));
        }
        if !(1..=check::MAX_VERSION).contains(&self.line) {
            return Err(FieldError::new("document.line", "is not a line number from 1"));
        }
        Ok(())
    }
}
