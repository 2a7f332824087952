//! Binary COPY: the fastest way in for rows that are known to be new.

use sqlx::PgConnection;

/// Rows for one `COPY … FROM STDIN (FORMAT binary)`.
pub(crate) struct CopyBuffer {
    bytes: Vec<u8>,
    fields: i16,
    rows: usize,
}

impl CopyBuffer {
    /// A buffer for rows of so many fields.
    pub(crate) fn new(fields: i16, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
        bytes.extend_from_slice(&[0; 8]);
        Self {
            bytes,
            fields,
            rows: 0,
        }
    }

    /// Begins a row; exactly the announced number of fields must follow.
    pub(crate) fn row(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&self.fields.to_be_bytes());
        self.rows += 1;
        self
    }

    /// A field in its binary form; none is null.
    pub(crate) fn field(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                // Every field was bounded when it was read; Postgres refuses one that is not.
                let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
                self.bytes.extend_from_slice(&length.to_be_bytes());
                self.bytes.extend_from_slice(value);
            }
        }
        self
    }

    pub(crate) fn long(&mut self, value: i64) -> &mut Self {
        self.field(Some(&value.to_be_bytes()))
    }

    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.field(Some(&value.to_be_bytes()))
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.field(Some(value.as_bytes()))
    }

    pub(crate) fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        self.field(value.map(str::as_bytes))
    }

    /// Sends the rows; nothing when there are none.
    pub(crate) async fn send(
        mut self,
        connection: &mut PgConnection,
        statement: &str,
    ) -> Result<(), sqlx::Error> {
        /// Bytes sent at once: Postgres reads them while the rest is still under way.
        const CHUNK: usize = 256 * 1024;
        if self.rows == 0 {
            return Ok(());
        }
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        for chunk in self.bytes.chunks(CHUNK) {
            copy.send(chunk).await?;
        }
        let copied = copy.finish().await?;
        if copied != self.rows as u64 {
            return Err(sqlx::Error::Protocol(format!(
                "{copied} of {} rows were copied",
                self.rows
            )));
        }
        Ok(())
    }
}
