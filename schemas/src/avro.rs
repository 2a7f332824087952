//! Avro: the compiled-in schemas, Confluent framing, encoding, and decoding under any writer's schema.

use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::error::Details;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::check::FieldError;
use crate::event::{Event, EventKind};
use crate::fact::Fact;

/// Bytes before the Avro datum: a zero and four bytes of schema id, big-endian.
pub const FRAME_BYTES: usize = 5;
/// No decoder allocates more than this for one collection or text.
const MAX_DECODER_BYTES: usize = 8 * 1024 * 1024;

/// The text of `avro/row.avsc`.
pub const ROW_SCHEMA: &str = include_str!("../avro/row.avsc");
/// The text of `avro/payout.avsc`.
pub const PAYOUT_SCHEMA: &str = include_str!("../avro/payout.avsc");
/// The text of `avro/order.avsc`.
pub const ORDER_SCHEMA: &str = include_str!("../avro/order.avsc");
/// The text of `avro/fact.avsc`.
pub const FACT_SCHEMA: &str = include_str!("../avro/fact.avsc");
/// The text of `avro/flag.avsc`.
pub const FLAG_SCHEMA: &str = include_str!("../avro/flag.avsc");

/// A compiled-in schema with its writer, which is costly to make and cheap to use.
pub struct Compiled {
    /// The schema.
    pub schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
}

/// The compiled-in schemas, parsed once.
pub struct Schemas {
    row: Compiled,
    payout: Compiled,
    order: Compiled,
    fact: Compiled,
    /// Schema of flags.
    pub flag: Compiled,
}

impl Schemas {
    /// The schema of a kind of events.
    pub fn of(&self, kind: EventKind) -> &Compiled {
        match kind {
            EventKind::Row => &self.row,
            EventKind::Payout => &self.payout,
            EventKind::Order => &self.order,
            EventKind::Fact => &self.fact,
        }
    }
}

/// The compiled-in schemas.
pub static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(MAX_DECODER_BYTES);
    Schemas {
        row: compiled_in(ROW_SCHEMA),
        payout: compiled_in(PAYOUT_SCHEMA),
        order: compiled_in(ORDER_SCHEMA),
        fact: compiled_in(FACT_SCHEMA),
        flag: compiled_in(FLAG_SCHEMA),
    }
});

/// A schema that is part of this binary and lives as long as it; a test parses each, so this cannot fail.
#[expect(
    clippy::panic,
    reason = "a binary whose own schemas do not parse never passes its first test"
)]
fn compiled_in(text: &str) -> Compiled {
    let compiled = Schema::parse_str(text).and_then(|schema| {
        let schema: &'static Schema = Box::leak(Box::new(schema));
        Ok(Compiled {
            schema,
            writer: GenericDatumWriter::builder(schema).build()?,
        })
    });
    compiled.unwrap_or_else(|error| panic!("a compiled-in schema does not parse: {error}"))
}

/// Why a framed value cannot become an event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first byte is not zero, or there are fewer than five.
    #[error(
        "the value is not in Confluent framing: a zero byte and four bytes of schema id are expected first"
    )]
    NotFramed,
    /// The datum does not follow its schema.
    #[error("the value does not follow the schema {schema_id} that it names: {reason}")]
    NotDecodable {
        /// The schema id in the frame.
        schema_id: u32,
        /// What the decoder says.
        reason: String,
    },
    /// The writer's schema has a field that this version does not know, and it carries a value.
    #[error(
        "the field `{0}` carries a value, and this version of Redline does not know it; upgrade, then retry"
    )]
    UnknownField(String),
    /// A field breaks a limit of the contract.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Splits a framed value into schema id and datum.
///
/// # Errors
/// [`DecodeError::NotFramed`].
pub fn split_frame(value: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(DecodeError::NotFramed),
    }
}

/// Puts the frame before a datum.
fn frame(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(FRAME_BYTES + datum.len());
    value.push(0);
    value.extend_from_slice(&schema_id.to_be_bytes());
    value.extend_from_slice(datum);
    value
}

/// Encodes a value under one of the compiled-in schemas and frames it. The same value gives the same bytes.
///
/// # Errors
/// A sentence; only a value that does not follow the schema, which is a defect of ours.
pub fn encode<T: Serialize>(compiled: &Compiled, schema_id: u32, value: &T) -> Result<Vec<u8>, String> {
    let datum = compiled
        .writer
        .write_ser_to_vec(value)
        .map_err(|error| error.to_string())?;
    Ok(frame(schema_id, &datum))
}

/// Encodes and frames an event.
///
/// # Errors
/// As [`encode`].
pub fn encode_event(schema_id: u32, event: &Event) -> Result<Vec<u8>, String> {
    let compiled = SCHEMAS.of(event.kind());
    match event {
        Event::Row(row) => encode(compiled, schema_id, row),
        Event::Payout(payout) => encode(compiled, schema_id, payout),
        Event::Order(order) => encode(compiled, schema_id, order),
        Event::Fact(fact) => encode(compiled, schema_id, fact),
    }
}

/// A writer's schema, prepared for decoding events of one kind.
pub struct WriterSchema {
    schema_id: u32,
    kind: EventKind,
    reader: GenericDatumReader<'static>,
    /// Whether every field of the writer is one of ours, in any order; otherwise unknown values are looked for.
    direct: bool,
}

impl WriterSchema {
    /// Prepares a writer's schema as the registry answered it.
    ///
    /// # Errors
    /// [`DecodeError::NotDecodable`] when it is no Avro schema of a record.
    pub fn new(schema_id: u32, kind: EventKind, text: &str) -> Result<Self, DecodeError> {
        let ours = SCHEMAS.of(kind).schema;
        let unusable = |reason: String| DecodeError::NotDecodable { schema_id, reason };
        let schema = Schema::parse_str(text).map_err(|error| unusable(error.to_string()))?;
        let Schema::Record(record) = &schema else {
            return Err(unusable("it is not the schema of a record".to_owned()));
        };
        let direct = record.fields.iter().all(|field| is_field_of(ours, &field.name));
        // Writers' schemas are few and are kept for as long as the process lives.
        let schema: &'static Schema = Box::leak(Box::new(schema));
        let reader = GenericDatumReader::builder(schema)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            schema_id,
            kind,
            reader,
            direct,
        })
    }

    /// Decodes a datum and checks every limit of the contract.
    ///
    /// # Errors
    /// Why the datum is no event.
    pub fn decode(&self, datum: &[u8]) -> Result<Event, DecodeError> {
        let event = match self.kind {
            EventKind::Row => Event::Row(self.read(datum)?),
            EventKind::Payout => Event::Payout(self.read(datum)?),
            EventKind::Order => Event::Order(self.read(datum)?),
            EventKind::Fact => {
                let mut fact: Box<Fact> = self.read(datum)?;
                // Both have one canonical form.
                fact.values = fact.values.filter(|values| !values.is_empty());
                Event::Fact(fact)
            }
        };
        event.check()?;
        Ok(event)
    }

    fn read<T: DeserializeOwned>(&self, datum: &[u8]) -> Result<T, DecodeError> {
        if !self.direct {
            let value = self.whole(datum, |reader, rest| reader.read_value(rest))?;
            refuse_unknown_values(SCHEMAS.of(self.kind).schema, &value)?;
        }
        self.whole(datum, |reader, rest| reader.read_deser(rest))
    }

    /// Reads a datum to its last byte.
    fn whole<T>(
        &self,
        datum: &[u8],
        read: impl FnOnce(&GenericDatumReader<'_>, &mut &[u8]) -> apache_avro::AvroResult<T>,
    ) -> Result<T, DecodeError> {
        let mut rest = datum;
        let value =
            read(&self.reader, &mut rest).map_err(|error| self.not_decodable(&plain_words(&error)))?;
        if rest.is_empty() {
            return Ok(value);
        }
        Err(self.not_decodable(&format!("{} bytes are left over", rest.len())))
    }

    fn not_decodable(&self, reason: &str) -> DecodeError {
        const MAX_REASON: usize = 500;
        let reason = reason
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_REASON)
            .collect();
        DecodeError::NotDecodable {
            schema_id: self.schema_id,
            reason,
        }
    }
}

/// What is wrong with a datum, without the decoder's own terms.
pub(crate) fn plain_words(error: &apache_avro::Error) -> String {
    match error.details() {
        Details::ReadBoolean(_)
        | Details::ReadBytes(_)
        | Details::ReadString(_)
        | Details::ReadDouble(_)
        | Details::ReadFloat(_)
        | Details::ReadFixed(..)
        | Details::ReadVariableIntegerBytes(_) => "it ends too early".to_owned(),
        Details::MemoryAllocation { .. }
        | Details::IntegerOverflow
        | Details::ConvertI32ToUsize(..)
        | Details::ConvertI64ToUsize(..)
        | Details::ConvertU64ToUsize(..) => "a length in it is negative or too great".to_owned(),
        Details::ConvertToUtf8(_) | Details::ConvertToUtf8Error(_) => "a text in it is not UTF-8".to_owned(),
        Details::ZagI32(_, number) => format!("a whole number in it is {number}, beyond 32 bits"),
        Details::DeserializeSchemaAware { value, .. } => value.clone(),
        Details::BoolValue(byte) => format!("true or false is written as {byte}, which is neither 1 nor 0"),
        Details::GetUnionVariant { index, num_variants } => {
            format!("a union has {num_variants} members, and number {index} is named")
        }
        other => other.to_string(),
    }
}

fn is_field_of(schema: &Schema, name: &str) -> bool {
    matches!(schema, Schema::Record(record) if record.lookup.contains_key(name))
}

/// A newer writer's field that we do not know may be null, as long as nobody uses it; a value would be lost.
fn refuse_unknown_values(ours: &Schema, value: &Value) -> Result<(), DecodeError> {
    let Value::Record(fields) = value else {
        return Ok(());
    };
    match fields
        .iter()
        .find(|(name, value)| !is_field_of(ours, name) && !is_null(value))
    {
        Some((name, _)) => Err(DecodeError::UnknownField(name.clone())),
        None => Ok(()),
    }
}

fn is_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Union(_, inner) => is_null(inner),
        _ => false,
    }
}
