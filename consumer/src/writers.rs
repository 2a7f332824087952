//! Writers' schemas by id: asked for together, waited for within a budget, and a miss remembered for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use redline_schemas::EventKind;
use redline_schemas::avro::WriterSchema;
use redline_schemas::registry::SchemaRegistry;
use tokio::time::Instant;

use crate::decode::{Known, Writers};

/// Unknown ids are waited for at most this long …
const PATIENCE: Duration = Duration::from_secs(30);
/// … in every such span.
const PATIENCE_SPAN: Duration = Duration::from_secs(60);
/// How long an id that the registry does not know is not asked for again.
const MISS_REMEMBERED: Duration = Duration::from_secs(600);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two questions to a registry that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Ids that are remembered; a flood of invented ones empties the memory.
const MOST_IDS: usize = 10_000;

/// Finds writers' schemas.
pub struct WriterSchemas<R> {
    registry: R,
    known: Writers,
    missed: Vec<(Instant, (u32, EventKind))>,
    span_began: Option<Instant>,
    waited: Duration,
}

impl<R: SchemaRegistry> WriterSchemas<R> {
    /// Asks this registry.
    pub fn new(registry: R) -> Self {
        Self {
            registry,
            known: Writers::new(),
            missed: Vec::new(),
            span_began: None,
            waited: Duration::ZERO,
        }
    }

    /// What is known; call [`Self::learn`] first.
    pub fn known(&self) -> &Writers {
        &self.known
    }

    /// Learns the schemas of these ids. A registry that is away is waited for without end; an id that it does not
    /// know only within the budget, and then it is remembered as missing.
    pub async fn learn(&mut self, ids: &BTreeSet<(u32, EventKind)>) {
        self.forget_old_misses();
        loop {
            let unknown: Vec<_> = ids
                .iter()
                .filter(|id| !self.known.contains_key(id))
                .copied()
                .collect();
            if unknown.is_empty() {
                return;
            }
            for id in unknown {
                self.ask(id).await;
            }
            let missing: Vec<_> = ids
                .iter()
                .filter(|id| !self.known.contains_key(id))
                .copied()
                .collect();
            if missing.is_empty() {
                return;
            }
            if !self.may_wait() {
                tracing::warn!(
                    ?missing,
                    "the registry does not know these schema ids; their records are quarantined"
                );
                for id in missing {
                    self.known.insert(id, Known::Missing);
                    self.missed.push((Instant::now(), id));
                }
                return;
            }
            tokio::time::sleep(PAUSE).await;
            self.waited += PAUSE;
        }
    }

    /// Asks for one id until the registry answers; keeps the schema if there is one.
    async fn ask(&mut self, (schema_id, kind): (u32, EventKind)) {
        let mut pause = PAUSE;
        loop {
            match self.registry.schema_text(schema_id).await {
                Ok(None) => return,
                Ok(Some(text)) => {
                    let known = match WriterSchema::new(schema_id, kind, &text) {
                        Ok(writer) => Known::Writer(std::sync::Arc::new(writer)),
                        Err(error) => Known::Unusable(error),
                    };
                    if self.known.len() >= MOST_IDS {
                        self.known.clear();
                        self.missed.clear();
                    }
                    self.known.insert((schema_id, kind), known);
                    return;
                }
                Err(error) => {
                    tracing::warn!(schema_id, %error, "waiting for the schema registry");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Whether the budget of the present span allows another pause.
    fn may_wait(&mut self) -> bool {
        let began = *self.span_began.get_or_insert_with(Instant::now);
        if began.elapsed() >= PATIENCE_SPAN {
            self.span_began = Some(Instant::now());
            self.waited = Duration::ZERO;
        }
        self.waited + PAUSE <= PATIENCE
    }

    /// Forgets that ids are missing: somebody publishes their records again, so they may have been registered.
    pub fn forget_misses(&mut self, ids: &BTreeSet<(u32, EventKind)>) {
        self.missed.retain(|(_, id)| !ids.contains(id));
        self.known
            .retain(|id, known| !(matches!(known, Known::Missing) && ids.contains(id)));
    }

    fn forget_old_misses(&mut self) {
        let known = &mut self.known;
        self.missed.retain(|(since, id)| {
            let fresh = since.elapsed() < MISS_REMEMBERED;
            if !fresh {
                known.remove(id);
            }
            fresh
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use redline_schemas::avro::ORDER_SCHEMA;
    use redline_schemas::registry::RegistryError;

    use super::*;

    /// Answers from a script, and counts the questions.
    #[derive(Default)]
    struct Scripted {
        answers: Mutex<Vec<Result<Option<String>, RegistryError>>>,
        asked: Mutex<usize>,
    }

    impl SchemaRegistry for &Scripted {
        async fn schema_text(&self, _: u32) -> Result<Option<String>, RegistryError> {
            *self.asked.lock().unwrap() += 1;
            self.answers.lock().unwrap().pop().unwrap_or(Ok(None))
        }

        async fn schema_id(&self, _: &str, _: &str) -> Result<Option<u32>, RegistryError> {
            Ok(None)
        }

        async fn register(&self, _: &str, _: &str) -> Result<u32, RegistryError> {
            Ok(0)
        }
    }

    const ID: (u32, EventKind) = (7, EventKind::Order);

    fn away() -> Result<Option<String>, RegistryError> {
        Err(RegistryError::Unavailable {
            url: "http://127.0.0.1:1".into(),
            reason: "refused".into(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_away_is_waited_for_however_long() {
        let registry = Scripted::default();
        *registry.answers.lock().unwrap() = vec![Ok(Some(ORDER_SCHEMA.into())), away(), away(), away()];
        let mut schemas = WriterSchemas::new(&registry);
        schemas.learn(&BTreeSet::from([ID])).await;
        assert!(matches!(schemas.known()[&ID], Known::Writer(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_id_is_asked_for_thirty_seconds_a_minute_and_then_remembered_for_ten_minutes() {
        let registry = Scripted::default();
        let mut schemas = WriterSchemas::new(&registry);
        let began = Instant::now();
        schemas.learn(&BTreeSet::from([ID])).await;
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(matches!(schemas.known()[&ID], Known::Missing));

        let asked = *registry.asked.lock().unwrap();
        schemas.learn(&BTreeSet::from([ID])).await;
        assert_eq!(
            *registry.asked.lock().unwrap(),
            asked,
            "a miss is not asked for again"
        );

        // Another unknown id in the same minute finds the budget used up.
        let second = Instant::now();
        schemas.learn(&BTreeSet::from([(8, EventKind::Order)])).await;
        assert_eq!(second.elapsed(), Duration::ZERO);

        tokio::time::advance(MISS_REMEMBERED).await;
        *registry.answers.lock().unwrap() = vec![Ok(Some(ORDER_SCHEMA.into()))];
        schemas.learn(&BTreeSet::from([ID])).await;
        assert!(matches!(schemas.known()[&ID], Known::Writer(_)));
    }
}
