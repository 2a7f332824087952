//! How the contract's types travel to and from Postgres: times as microseconds, amounts as exact numerics.

use redline_schemas::{Amount, ContentHash, Timestamp};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type, TypeInfo};

/// Microseconds from 1970-01-01 to 2000-01-01, from which Postgres counts.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A `timestamptz`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamptz(pub Timestamp);

impl Timestamptz {
    /// Microseconds since 2000, as Postgres stores them.
    pub(crate) fn postgres_micros(self) -> i64 {
        self.0.micros() - EPOCH_MICROS
    }
}

impl Type<Postgres> for Timestamptz {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ")
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        other.name() == "TIMESTAMPTZ"
    }
}

impl PgHasArrayType for Timestamptz {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_TIMESTAMPTZ")
    }
}

impl Encode<'_, Postgres> for Timestamptz {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.postgres_micros().to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Timestamptz {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
                let micros = micros.checked_add(EPOCH_MICROS).ok_or("a time out of range")?;
                Ok(Self(Timestamp::from_micros(micros)))
            }
            PgValueFormat::Text => Err("times are read in binary form only".into()),
        }
    }
}

/// An optional time for a statement.
pub(crate) fn optional_time(time: Option<Timestamp>) -> Option<Timestamptz> {
    time.map(Timestamptz)
}

/// Reads a content hash.
///
/// # Errors
/// When the column does not hold 32 bytes.
pub(crate) fn content_hash(bytes: &[u8]) -> Result<ContentHash, sqlx::Error> {
    bytes
        .try_into()
        .map(ContentHash)
        .map_err(|_| sqlx::Error::Decode("a content hash is not 32 bytes long".into()))
}

/// An amount in the binary form of `numeric`: base 10,000 digits, three of them after the point.
pub(crate) fn numeric_bytes(amount: Amount) -> Vec<u8> {
    const BASE: u128 = 10_000;
    const ONE: u128 = 1_000_000_000;
    let units = amount.units();
    let magnitude = units.unsigned_abs();
    // Nine digits after the point are three groups of four, the last one padded with three zeros.
    let mut fraction = (magnitude % ONE) * 1_000;
    let mut groups: Vec<u128> = Vec::with_capacity(11);
    for _ in 0..3 {
        groups.push(fraction % BASE);
        fraction /= BASE;
    }
    let mut whole = magnitude / ONE;
    while whole > 0 {
        groups.push(whole % BASE);
        whole /= BASE;
    }
    groups.reverse();
    let weight = i16::try_from(groups.len()).unwrap_or(i16::MAX) - 4;
    let sign: u16 = if units < 0 { 0x4000 } else { 0 };
    let mut bytes = Vec::with_capacity(8 + 2 * groups.len());
    bytes.extend_from_slice(&u16::try_from(groups.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(&weight.to_be_bytes());
    bytes.extend_from_slice(&sign.to_be_bytes());
    bytes.extend_from_slice(&scale_shown(amount).to_be_bytes());
    for group in groups {
        bytes.extend_from_slice(&u16::try_from(group).unwrap_or(u16::MAX).to_be_bytes());
    }
    bytes
}

/// Digits after the point that are shown: no trailing zeros.
fn scale_shown(amount: Amount) -> u16 {
    let text = amount.to_string();
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    u16::try_from(digits).unwrap_or(9)
}
