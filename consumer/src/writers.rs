//! Writers' schemas by id: asked for together, and a miss remembered for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redline_schemas::EventKind;
use redline_schemas::avro::WriterSchema;
use redline_schemas::registry::{RegistryError, SchemaRegistry};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::decode::{Known, Writers};

/// How long an id that the registry does not know is not asked for again.
const MISS_REMEMBERED: Duration = Duration::from_secs(600);
/// Ids that are remembered; beyond them only those of the present batch are.
const MOST_IDS: usize = 10_000;
/// Questions to the registry at once.
const AT_ONCE: usize = 16;
/// Questions of one call.
const MOST_ASKED: usize = 1_000;
/// How long a call waits for answers, so that a registry that hangs holds up nobody who needs nothing of it.
const BRIEFLY: Duration = Duration::from_millis(250);

/// An id in a topic of this kind of events.
pub type SchemaId = (u32, EventKind);

/// Why a schema is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// The registry does not know the id.
    Unregistered,
    /// The registry does not answer.
    Away,
}

type Answer = Result<Option<String>, RegistryError>;

/// Finds writers' schemas.
pub struct WriterSchemas<R> {
    registry: Arc<R>,
    known: Writers,
    missed: Vec<(Instant, SchemaId)>,
    /// Questions that are under way.
    asking: Option<JoinHandle<Vec<(SchemaId, Answer)>>>,
}

/// Asks for schemas, some at once. After one that is not answered, no others are asked for.
async fn ask<R: SchemaRegistry>(registry: Arc<R>, ids: Vec<SchemaId>) -> Vec<(SchemaId, Answer)> {
    let mut answers: Vec<(SchemaId, Answer)> = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let answered = join_all(some.iter().map(|id| registry.schema_text(id.0))).await;
        let is_away = answered.iter().any(Result::is_err);
        answers.extend(some.iter().copied().zip(answered));
        if is_away {
            break;
        }
    }
    answers
}

impl<R: SchemaRegistry + Send + Sync + 'static> WriterSchemas<R> {
    /// Asks this registry.
    pub fn new(registry: R) -> Self {
        Self {
            registry: Arc::new(registry),
            known: Writers::new(),
            missed: Vec::new(),
            asking: None,
        }
    }

    /// What is known; call [`Self::learn`] first.
    pub fn known(&self) -> &Writers {
        &self.known
    }

    /// Asks once for the schemas of those ids that are not known; answers those that still are not. A registry that takes
    /// its time is not waited for: its answers are taken in by a later call.
    pub async fn learn(&mut self, ids: &BTreeSet<SchemaId>) -> BTreeMap<SchemaId, Unknown> {
        self.forget_old_misses();
        if self.known.len() + ids.len() > MOST_IDS {
            self.known.retain(|id, _| ids.contains(id));
            self.missed.retain(|(_, id)| ids.contains(id));
        }
        let mut unknown: BTreeMap<SchemaId, Unknown> = BTreeMap::new();
        // What was asked before is answered first, then what is new is asked.
        for _ in 0..2 {
            let asked: Vec<SchemaId> = ids
                .iter()
                .filter(|id| !self.known.contains_key(id) && !unknown.contains_key(id))
                .copied()
                .collect();
            if asked.is_empty() {
                return unknown;
            }
            let registry = Arc::clone(&self.registry);
            let asking = self.asking.get_or_insert_with(|| {
                tokio::spawn(ask(registry, asked.into_iter().take(MOST_ASKED).collect()))
            });
            let Ok(answers) = tokio::time::timeout(BRIEFLY, asking).await else {
                break;
            };
            self.asking = None;
            for (id, answer) in answers.unwrap_or_default() {
                if let Some(why) = self.keep(id, answer)
                    && ids.contains(&id)
                {
                    unknown.insert(id, why);
                }
            }
            if unknown.values().any(|why| *why == Unknown::Away) {
                break;
            }
        }
        for id in ids.iter().filter(|id| !self.known.contains_key(id)) {
            unknown.entry(*id).or_insert(Unknown::Away);
        }
        unknown
    }

    /// Keeps the schema that the registry answered, or says why it is still unknown.
    fn keep(&mut self, id: SchemaId, answer: Answer) -> Option<Unknown> {
        match answer {
            Ok(Some(text)) => {
                let known = match WriterSchema::new(id.0, id.1, &text) {
                    Ok(writer) => Known::Writer(Arc::new(writer)),
                    Err(error) => Known::Unusable(error),
                };
                self.known.insert(id, known);
                None
            }
            Ok(None) => Some(Unknown::Unregistered),
            Err(error) => {
                tracing::warn!(schema_id = id.0, %error, "waiting for the schema registry");
                Some(Unknown::Away)
            }
        }
    }

    /// Remembers for ten minutes that the registry does not know these ids.
    pub fn miss(&mut self, ids: &BTreeSet<SchemaId>) {
        for id in ids {
            self.known.insert(*id, Known::Missing);
            self.missed.push((Instant::now(), *id));
        }
    }

    /// Forgets that ids are missing: somebody publishes their records again, so they may have been registered.
    pub fn forget_misses(&mut self, ids: &BTreeSet<SchemaId>) {
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
        answers: Mutex<Vec<Answer>>,
        asked: Mutex<usize>,
        hangs: std::sync::atomic::AtomicBool,
    }

    #[derive(Clone, Default)]
    struct Script(Arc<Scripted>);

    impl Script {
        /// What is answered, the last first.
        fn will_answer(&self, answers: Vec<Answer>) {
            *self.0.answers.lock().unwrap() = answers;
        }

        fn asked(&self) -> usize {
            *self.0.asked.lock().unwrap()
        }
    }

    impl SchemaRegistry for Script {
        async fn schema_text(&self, _: u32) -> Answer {
            *self.0.asked.lock().unwrap() += 1;
            let answer = self.0.answers.lock().unwrap().pop();
            if self.0.hangs.load(std::sync::atomic::Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            answer.unwrap_or(Ok(None))
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

    #[tokio::test]
    async fn a_registry_that_is_away_is_asked_again() {
        let registry = Script::default();
        registry.will_answer(vec![Ok(Some(ORDER_SCHEMA.into())), away()]);
        let mut schemas = WriterSchemas::new(registry.clone());
        assert_eq!(schemas.learn(&BTreeSet::from([ID])).await[&ID], Unknown::Away);
        assert!(schemas.learn(&BTreeSet::from([ID])).await.is_empty());
        assert!(matches!(schemas.known()[&ID], Known::Writer(_)));
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_not_asked_for_a_thousand_ids() {
        let registry = Script::default();
        registry.will_answer(vec![away()]);
        let ids: BTreeSet<SchemaId> = (0..1_000).map(|id| (id, EventKind::Order)).collect();
        let unknown = WriterSchemas::new(registry.clone()).learn(&ids).await;
        assert_eq!(unknown.len(), 1_000);
        assert_eq!(registry.asked(), AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_hangs_is_waited_for_briefly_and_its_answer_is_taken_in_later() {
        let registry = Script::default();
        registry.will_answer(vec![Ok(Some(ORDER_SCHEMA.into()))]);
        registry.0.hangs.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut schemas = WriterSchemas::new(registry.clone());
        let began = Instant::now();
        assert_eq!(schemas.learn(&BTreeSet::from([ID])).await[&ID], Unknown::Away);
        assert_eq!(began.elapsed(), BRIEFLY);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(schemas.learn(&BTreeSet::from([ID])).await.is_empty());
        assert_eq!(registry.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_miss_is_remembered_for_ten_minutes_or_until_a_record_is_published_again() {
        let registry = Script::default();
        let mut schemas = WriterSchemas::new(registry.clone());
        let ids = BTreeSet::from([ID]);
        assert_eq!(schemas.learn(&ids).await[&ID], Unknown::Unregistered);
        schemas.miss(&ids);
        assert!(schemas.learn(&ids).await.is_empty());
        assert!(matches!(schemas.known()[&ID], Known::Missing));
        assert_eq!(registry.asked(), 1, "a miss is not asked for again");

        schemas.forget_misses(&ids);
        assert_eq!(schemas.learn(&ids).await[&ID], Unknown::Unregistered);
        schemas.miss(&ids);

        tokio::time::advance(MISS_REMEMBERED).await;
        registry.will_answer(vec![Ok(Some(ORDER_SCHEMA.into()))]);
        assert!(schemas.learn(&ids).await.is_empty());
        assert!(matches!(schemas.known()[&ID], Known::Writer(_)));
    }

    #[tokio::test]
    async fn a_flood_of_ids_does_not_push_out_those_of_its_own_batch() {
        let registry = Script::default();
        registry.will_answer(vec![Ok(Some(ORDER_SCHEMA.into()))]);
        let mut schemas = WriterSchemas::new(registry.clone());
        schemas.learn(&BTreeSet::from([ID])).await;
        let flood: BTreeSet<SchemaId> = (1_000..12_000).map(|id| (id, EventKind::Order)).collect();
        schemas.miss(&flood);
        schemas.learn(&BTreeSet::from([ID, (8, EventKind::Order)])).await;
        assert_eq!(schemas.known().len(), 1);
        assert!(matches!(schemas.known()[&ID], Known::Writer(_)));
    }
}
