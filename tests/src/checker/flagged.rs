//! Flags arrive: every revision in the table is on the topic, in order, with the same bytes each time.

use std::collections::{BTreeMap, BTreeSet};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use redline_schemas::avro::{FLAG_SCHEMA, split_frame};
use redline_schemas::flag::{Flag, flag_id};
use serde_json::Value;
use sqlx::Row as _;

use crate::installation::Installation;
use crate::kafka::Read;

/// Reads framed flags under our schema.
struct Reader {
    reader: GenericDatumReader<'static>,
}

impl Reader {
    fn new() -> Self {
        let schema: &'static Schema = Box::leak(Box::new(
            Schema::parse_str(FLAG_SCHEMA).expect("the schema parses"),
        ));
        Self {
            reader: GenericDatumReader::builder(schema)
                .build()
                .expect("a reader of our schema"),
        }
    }

    fn read(&self, record: &Read) -> Flag {
        let value = record.value.as_deref().expect("a flag is never a tombstone");
        let (_, mut datum) = split_frame(value).expect("a flag is framed");
        let flag = self
            .reader
            .read_deser(&mut datum)
            .unwrap_or_else(|error| panic!("a flag does not decode: {error}"));
        assert!(datum.is_empty(), "bytes are left over behind a flag");
        flag
    }
}

/// Every flag on the topic, repetitions too, by partition and offset.
pub async fn published_flags(installation: &Installation) -> Vec<Flag> {
    let reader = Reader::new();
    let records = installation.kafka.read(&installation.topics.flagged).await;
    records.iter().map(|record| reader.read(record)).collect()
}

pub(super) async fn check(installation: &Installation) {
    let recorded = recorded_revisions(installation).await;
    check_latest(installation).await;
    check_published(installation, &recorded).await;
}

/// Every revision in the table, by flag: 1 to n without a hole.
async fn recorded_revisions(installation: &Installation) -> BTreeMap<String, Vec<Value>> {
    let rows = sqlx::query(
        "select flag_id, revision, flag::text from redline.flag_revisions order by flag_id, revision",
    )
    .fetch_all(&installation.pool)
    .await
    .expect("revisions can be read");
    let mut revisions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in &rows {
        let flag: String = row.get(0);
        let of_flag = revisions.entry(flag.clone()).or_default();
        let expected = i64::try_from(of_flag.len()).expect("few revisions") + 1;
        assert_eq!(
            row.get::<i64, _>(1),
            expected,
            "a revision of flag {flag} is missing"
        );
        of_flag.push(serde_json::from_str(row.get(2)).expect("a flag is JSON"));
    }
    revisions
}

/// The table of flags shows the latest revision of each.
async fn check_latest(installation: &Installation) {
    let differing = installation
        .texts(
            "select coalesce(f.flag_id, l.flag_id) from redline.flags f full join (
                select distinct on (flag_id) flag_id, revision, status, flag as j
                from redline.flag_revisions order by flag_id, revision desc) l using (flag_id)
             where f.flag_id is null or l.flag_id is null
                or (f.revision, f.status) is distinct from (l.revision, l.status)
                or (f.revision, f.status, f.kind, f.risk, f.entity_type, f.source, f.entity_id, f.version)
                    is distinct from ((j->>'revision')::bigint, j->>'status', j->>'kind', j->>'risk',
                    j->>'entity_type', j->>'source', j->>'entity_id', (j->>'version')::bigint)
                or (f.\"column\", f.before, f.after, f.impact, f.currency, f.score, f.editor, f.modified_at, f.period)
                    is distinct from (j->>'column', j->>'before', j->>'after', (j->>'impact')::numeric,
                    j->>'currency', (j->>'score')::bigint, j->>'editor', (j->>'modified_at')::timestamptz,
                    j->>'period')
                or (f.legal_entity, f.link, f.reason, f.details, f.rules_hash) is distinct from
                    (j->>'legal_entity', j->>'link', j->>'reason', coalesce(j->'details', '{}'), j->>'rules_hash')
                or (f.position_topic, f.position_incarnation, f.position_partition, f.position_offset)
                    is distinct from (j->'position'->>'topic', j->'position'->>'incarnation',
                    (j->'position'->>'partition')::int, (j->'position'->>'offset')::bigint)",
        )
        .await;
    assert!(
        differing.is_empty(),
        "these flags differ from their latest revision: {differing:?}"
    );
}

/// The topic holds every recorded revision and no other, in order per flag, repetitions byte for byte.
async fn check_published(installation: &Installation, recorded: &BTreeMap<String, Vec<Value>>) {
    let reader = Reader::new();
    let mut partitions: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
    let mut bytes: BTreeMap<(String, i64), Vec<u8>> = BTreeMap::new();
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let topic = &installation.topics.flagged;
    let published = published_revisions(installation.kafka.read(topic).await, &reader);
    // Those who read more than what was committed see the same, in order, with more repetitions.
    for record in installation.kafka.read_uncommitted(topic).await {
        let flag = reader.read(&record);
        let key = record.key.clone().expect("a flag has a key");
        assert_eq!(key, flag.key().into_bytes(), "the key of flag {}", flag.flag_id);
        let partition = *partitions.entry(key).or_insert(record.partition);
        assert_eq!(
            partition, record.partition,
            "the flags of one entity lie in two partitions"
        );
        let id = flag_id(
            &flag.kind,
            &flag.entity_type,
            &flag.source,
            &flag.entity_id,
            flag.version,
            flag.column.as_deref(),
        );
        assert_eq!(
            id, flag.flag_id,
            "a flag's id is not the hash of what it is about"
        );

        let revision = flag.revision;
        let value = record.value.expect("a flag is never a tombstone");
        match bytes.get(&(id.clone(), revision)) {
            Some(before) => assert_eq!(
                before, &value,
                "revision {revision} of flag {id} has other bytes now"
            ),
            None => {
                let before = seen.insert(id.clone(), revision).unwrap_or(0);
                assert_eq!(
                    revision,
                    before + 1,
                    "revision {revision} of flag {id} appears after {before}"
                );
                check_as_recorded(&flag, recorded);
                bytes.insert((id.clone(), revision), value);
            }
        }
        last.insert(id, revision);
    }
    for (flag, revisions) in recorded {
        let committed = published.get(flag).map_or(0, BTreeSet::len);
        assert_eq!(committed, revisions.len(), "flag {flag}: committed revisions");
        let count = i64::try_from(revisions.len()).expect("few revisions");
        assert_eq!(
            seen.get(flag),
            Some(&count),
            "flag {flag} has {count} revisions, and the topic shows them up to this one"
        );
        assert_eq!(
            last.get(flag),
            Some(&count),
            "flag {flag}: the last one on the topic is not the latest"
        );
    }
}

/// The revisions of each flag among some records.
fn published_revisions(records: Vec<Read>, reader: &Reader) -> BTreeMap<String, BTreeSet<i64>> {
    let mut revisions: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for record in &records {
        let flag = reader.read(record);
        revisions.entry(flag.flag_id).or_default().insert(flag.revision);
    }
    revisions
}

fn check_as_recorded(flag: &Flag, recorded: &BTreeMap<String, Vec<Value>>) {
    let published: Value = serde_json::from_str(&flag.to_json()).expect("a flag is JSON");
    let at = usize::try_from(flag.revision - 1).expect("revisions begin at 1");
    let kept = recorded
        .get(&flag.flag_id)
        .and_then(|revisions| revisions.get(at));
    assert_eq!(
        Some(&published),
        kept,
        "what was published differs from what was recorded"
    );
}
