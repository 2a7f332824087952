//! The outbox: what the relay has to publish.
//!
//! Numbers are given out before transactions commit, so a lower one may appear after a higher one was taken.
//! The relay therefore takes whatever stands in the table, in order, and deletes it once it is published; it
//! never remembers a number to go on from. Of one entity the order is that of the commits, since a writer takes
//! numbers only after it has locked the entity.

use serde_json::{Value, json};
use sqlx::{PgConnection, Row};

use crate::error::StoreError;

/// Headers of a Kafka record, in order; names may repeat.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record for a Kafka topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Kafka key.
    pub key: Option<Vec<u8>>,
    /// Kafka value.
    pub value: Option<Vec<u8>>,
    /// Kafka headers, in order.
    pub headers: Headers,
}

/// A message that waits, with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its number in the outbox.
    pub outbox_id: i64,
    /// What to publish.
    pub message: Message,
}

/// Adds messages, in this order.
///
/// # Errors
/// When Postgres cannot be reached.
pub(crate) async fn add(connection: &mut PgConnection, messages: &[Message]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into redline.outbox (topic, key, value, headers)
         select topic, key, value, headers::jsonb
         from unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[]) with ordinality
            m (topic, key, value, headers, ordinality) order by ordinality",
    )
    .bind(
        messages
            .iter()
            .map(|message| message.topic.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        messages
            .iter()
            .map(|message| message.key.as_deref())
            .collect::<Vec<_>>(),
    )
    .bind(
        messages
            .iter()
            .map(|message| message.value.as_deref())
            .collect::<Vec<_>>(),
    )
    .bind(
        messages
            .iter()
            .map(|message| headers_to_json(&message.headers))
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Becomes the one relay that may take messages, for as long as this connection lasts; answers whether it did.
/// Asked once of a connection.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn lead(connection: &mut PgConnection) -> Result<bool, StoreError> {
    /// Any number that nothing else of ours locks.
    const RELAY_LOCK: i64 = 0x0072_656c_6179;
    Ok(sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(RELAY_LOCK)
        .fetch_one(connection)
        .await?)
}

/// Whether the connection of the one that leads is still there; Postgres counts its idle time anew.
///
/// # Errors
/// When Postgres cannot be reached, or has ended the connection and with it the lead.
pub async fn still_leads(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select 1").execute(connection).await?;
    Ok(())
}

/// The oldest messages, up to a number of them and of bytes; only for the one that leads, see [`lead`].
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn take(
    connection: &mut PgConnection,
    most_messages: i64,
    most_bytes: i64,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(
        "select outbox_id, topic, key, value, headers::text as headers from (
            select *, sum(coalesce(octet_length(value), 0) + coalesce(octet_length(key), 0) + 200)
                over (order by outbox_id) as bytes
            from (select * from redline.outbox order by outbox_id limit $1) oldest) sized
         where bytes <= $2 or outbox_id = (select min(outbox_id) from redline.outbox)
         order by outbox_id",
    )
    .bind(most_messages)
    .bind(most_bytes)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let message = Message {
                topic: row.try_get("topic")?,
                key: row.try_get("key")?,
                value: row.try_get("value")?,
                headers: headers_from_json(row.try_get("headers")?)?,
            };
            Ok(Waiting {
                outbox_id: row.try_get("outbox_id")?,
                message,
            })
        })
        .collect()
}

/// Deletes what was published.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn delete(connection: &mut PgConnection, published: &[i64]) -> Result<(), StoreError> {
    sqlx::query("delete from redline.outbox where outbox_id = any($1)")
        .bind(published)
        .execute(connection)
        .await?;
    Ok(())
}

/// Headers as JSON: a list of names and base64 values, null where a header has no value.
pub(crate) fn headers_to_json(headers: &[(String, Option<Vec<u8>>)]) -> String {
    let list: Vec<Value> = headers
        .iter()
        // Postgres holds no U+0000 in JSON either.
        .map(|(name, value)| json!({ "name": name.replace('\0', "\u{fffd}"), "value": value.as_deref().map(to_base64) }))
        .collect();
    Value::Array(list).to_string()
}

/// Reads what [`headers_to_json`] wrote.
pub(crate) fn headers_from_json(json: &str) -> Result<Headers, StoreError> {
    let damaged = || StoreError::Damaged {
        what: "the headers of a record".to_owned(),
        reason: "no list".to_owned(),
    };
    let list: Vec<Value> = serde_json::from_str(json).map_err(|_| damaged())?;
    list.iter()
        .map(|header| {
            let name = header["name"].as_str().ok_or_else(damaged)?.to_owned();
            let value = match &header["value"] {
                Value::Null => None,
                value => Some(value.as_str().and_then(from_base64).ok_or_else(damaged)?),
            };
            Ok((name, value))
        })
        .collect()
}

fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_json() {
        let headers = vec![
            ("traceparent".to_owned(), Some(vec![0, 255, 7])),
            ("empty".to_owned(), None),
        ];
        assert_eq!(headers_from_json(&headers_to_json(&headers)).unwrap(), headers);
    }
}
