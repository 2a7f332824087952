//! A registry that is none: the schemas that are compiled in, behind the trait of the registry, in the same framing.

use crate::avro::{FACT_SCHEMA, FLAG_SCHEMA, ORDER_SCHEMA, PAYOUT_SCHEMA, ROW_SCHEMA};
use crate::registry::{RegistryError, SchemaRegistry};

/// All schemas; the id of each is its place, from 1.
const SCHEMAS: [&str; 5] = [ROW_SCHEMA, PAYOUT_SCHEMA, ORDER_SCHEMA, FACT_SCHEMA, FLAG_SCHEMA];

/// The schemas that are compiled in. Nothing can be registered besides them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompiledSchemas;

impl SchemaRegistry for CompiledSchemas {
    async fn schema_text(&self, schema_id: u32) -> Result<Option<String>, RegistryError> {
        let place = usize::try_from(schema_id).ok().and_then(|id| id.checked_sub(1));
        Ok(place
            .and_then(|place| SCHEMAS.get(place))
            .map(|schema| (*schema).to_owned()))
    }

    async fn schema_id(&self, _subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        let found = (1..).zip(SCHEMAS).find(|(_, compiled)| *compiled == schema);
        Ok(found.map(|(schema_id, _)| schema_id))
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.schema_id(subject, schema)
            .await?
            .ok_or_else(|| RegistryError::Refused {
                what: format!("the schema of {subject}"),
                reason: "only the schemas that are compiled in are known here".to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Nothing here ever waits.
    fn at_once<T>(answer: impl Future<Output = T>) -> T {
        match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn every_schema_is_found_under_the_id_that_it_is_told() {
        for schema in SCHEMAS {
            let schema_id = at_once(CompiledSchemas.schema_id("any", schema))
                .unwrap()
                .unwrap();
            let text = at_once(CompiledSchemas.schema_text(schema_id)).unwrap();
            assert_eq!(text.as_deref(), Some(schema));
            assert_eq!(
                at_once(CompiledSchemas.register("any", schema)).unwrap(),
                schema_id
            );
        }
    }

    #[test]
    fn nothing_else_is_known_or_taken() {
        for schema_id in [0, 6, u32::MAX] {
            assert_eq!(at_once(CompiledSchemas.schema_text(schema_id)).unwrap(), None);
        }
        assert_eq!(at_once(CompiledSchemas.schema_id("any", "{}")).unwrap(), None);
        assert!(at_once(CompiledSchemas.register("any", "{}")).is_err());
    }
}
