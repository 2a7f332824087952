//! What can happen, by name.

mod kafka;
mod network;
mod postgres;
mod redis;
mod roles;
mod workers;

use std::net::SocketAddr;

use rdkafka::ClientConfig;
use rdkafka::producer::FutureProducer;
use redline_tests::Proxy;

use crate::run::Run;
use crate::stream::Facts;

/// A service that workers talk to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Postgres,
    Redis,
    Kafka,
    Registry,
}

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Cut,
    Slow,
    Reset,
}

/// Where a worker is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    BeforeCommit,
    BeforeMark,
    BeforeOffsets,
    InsideCopy,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    WorkerKilled,
    WorkerKilledAt(Point),
    WorkerHeldAtCommit,
    WorkerStopped,
    WorkerStoppedInsideCopy,
    DeriverKilled,
    RelayKilled,
    RelayStopped,
    IngestKilled,
    PostgresCrashed,
    PostgresReadOnly,
    PostgresOutOfConnections,
    PostgresOutOfDisk,
    PostgresDeadlocks,
    PostgresSerialization,
    RedisCrashed,
    RedisFlushed,
    RedisLying,
    RedisRefusing,
    RedisFailedOver,
    RegistryCrashed,
    BrokerKilled,
    KafkaStopped,
    Network(Trouble, Peer),
    RebalanceStorm,
    OffsetsMoved,
    ClockJumps,
    Poison,
    CarelessProducers,
    PartitionsAdded,
    VersionsSideBySide,
}

/// A fault.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    kind: Kind,
}

/// What a fault wants of its run from the start.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Needs {
    /// Proxies between the workers and these services.
    pub(crate) proxies: &'static [Peer],
    /// Only the first worker goes through them.
    pub(crate) only_first_is_led: bool,
    pub(crate) is_careless: bool,
    pub(crate) is_poisoned: bool,
    pub(crate) small_disk: bool,
    pub(crate) clock: bool,
    pub(crate) facts: Facts,
}

macro_rules! faults {
    ($($name:literal, $kind:expr, $about:literal;)*) => {
        /// All of them, in the order of the page.
        pub(crate) const FAULTS: &[Fault] = &[$(Fault { name: $name, about: $about, kind: $kind }),*];
    };
}

use Kind::*;
use Peer::{Kafka, Postgres, Redis, Registry};
use Trouble::{Cut, Reset, Slow};

faults! {
    "worker-killed", WorkerKilled, "kill -9 of workers at random, again and again";
    "worker-killed-before-commit", WorkerKilledAt(Point::BeforeCommit), "kill -9 when the word to commit has left the worker and not arrived";
    "worker-killed-before-mark", WorkerKilledAt(Point::BeforeMark), "kill -9 when Postgres has committed and the worker does not know it";
    "worker-killed-before-offsets", WorkerKilledAt(Point::BeforeOffsets), "kill -9 when the worker tells Kafka how far it is, which does not arrive";
    "worker-killed-inside-copy", WorkerKilledAt(Point::InsideCopy), "kill -9 when half of a COPY has arrived";
    "worker-held-at-commit", WorkerHeldAtCommit, "a worker's word to commit takes a while to arrive, and the other one goes on";
    "worker-stopped", WorkerStopped, "SIGSTOP of a worker for longer than its session and its transactions last, then SIGCONT";
    "worker-stopped-inside-copy", WorkerStoppedInsideCopy, "the same when half of a COPY has arrived";
    "deriver-killed", DeriverKilled, "kill -9 of all workers while entities wait to be derived again";
    "relay-killed", RelayKilled, "kill -9 of the relay, again and again";
    "relay-stopped", RelayStopped, "SIGSTOP of the relay until another one leads, then SIGCONT";
    "ingest-killed", IngestKilled, "kill -9 of the door in the middle of requests";
    "postgres-crashed", PostgresCrashed, "an immediate shutdown of Postgres, again and again";
    "postgres-read-only", PostgresReadOnly, "Postgres only lets read";
    "postgres-out-of-connections", PostgresOutOfConnections, "somebody else takes every connection that Postgres has";
    "postgres-out-of-disk", PostgresOutOfDisk, "the disk of the tables is full";
    "postgres-deadlocks", PostgresDeadlocks, "somebody else locks entities in the wrong order";
    "postgres-serialization-failures", PostgresSerialization, "every transaction is serializable, and somebody else writes the same rows";
    "redis-crashed", RedisCrashed, "kill -9 of Redis, which forgets everything, again and again";
    "redis-flushed", RedisFlushed, "all marks are deleted, again and again";
    "redis-lying", RedisLying, "marks stand there for events that were never recorded";
    "redis-refusing-writes", RedisRefusing, "Redis has no memory left for marks";
    "redis-failed-over", RedisFailedOver, "a replica that refuses to write takes over, and is promoted later";
    "registry-crashed", RegistryCrashed, "kill -9 of the schema registry while a worker starts that knows no schema";
    "broker-killed", BrokerKilled, "kill -9 of one broker of three, and its return";
    "kafka-stopped", KafkaStopped, "SIGSTOP of a broker for longer than every timeout, then SIGCONT";
    "network-cut-postgres", Network(Cut, Postgres), "nothing arrives between workers and Postgres, and nobody is told";
    "network-cut-redis", Network(Cut, Redis), "the same with Redis";
    "network-cut-kafka", Network(Cut, Kafka), "the same with Kafka";
    "network-cut-registry", Network(Cut, Registry), "the same with the registry, while a worker starts";
    "network-slow-postgres", Network(Slow, Postgres), "everything between one of the workers and Postgres takes its time";
    "network-slow-redis", Network(Slow, Redis), "the same with Redis";
    "network-slow-kafka", Network(Slow, Kafka), "the same with Kafka";
    "network-slow-registry", Network(Slow, Registry), "the same with the registry, while a worker starts";
    "network-reset-postgres", Network(Reset, Postgres), "connections between workers and Postgres break, again and again";
    "network-reset-redis", Network(Reset, Redis), "the same with Redis";
    "network-reset-kafka", Network(Reset, Kafka), "the same with Kafka";
    "network-reset-registry", Network(Reset, Registry), "the same with the registry, while a worker starts";
    "rebalance-storm", RebalanceStorm, "workers come and go faster than the group can settle";
    "offsets-moved", OffsetsMoved, "the group's committed offsets are set back to the start, or ahead to the end";
    "clock-jumps", ClockJumps, "the workers' clocks jump by hours and days, to and fro";
    "poison", Poison, "every hundredth message is followed by one that cannot be read, and workers are killed";
    "careless-producers", CarelessProducers, "a producer without idempotence whose connections break, so that messages come twice and out of order";
    "partitions-added", PartitionsAdded, "the topic of rows gets more partitions, so that keys come in others";
    "versions-side-by-side", VersionsSideBySide, "the version before works beside this one, and they take turns";
}

/// What is tried with every change, by one seed that nobody chose: minutes instead of hours.
pub(crate) const SHORT: &[&str] = &[
    "worker-killed",
    "worker-killed-before-commit",
    "worker-killed-before-mark",
    "worker-stopped-inside-copy",
    "deriver-killed",
    "relay-killed",
    "ingest-killed",
    "postgres-crashed",
    "redis-lying",
    "kafka-stopped",
    "network-cut-postgres",
    "rebalance-storm",
    "poison",
    "partitions-added",
];

impl Fault {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }

    pub(crate) fn needs(&self) -> Needs {
        let none = Needs::default();
        match self.kind {
            WorkerKilledAt(Point::BeforeOffsets) => Needs {
                proxies: &[Kafka],
                only_first_is_led: true,
                ..none
            },
            WorkerHeldAtCommit => Needs {
                proxies: &[Postgres],
                only_first_is_led: true,
                facts: Facts::First,
                ..none
            },
            WorkerKilledAt(_) | WorkerStoppedInsideCopy => Needs {
                proxies: &[Postgres],
                only_first_is_led: true,
                ..none
            },
            Network(trouble, peer) => Needs {
                // A slow worker beside a fast one: what it began first, it ends last.
                only_first_is_led: trouble == Slow && peer != Registry,
                proxies: match peer {
                    Postgres => &[Postgres],
                    Redis => &[Redis],
                    Kafka => &[Kafka],
                    Registry => &[Registry],
                },
                ..none
            },
            RedisFailedOver => Needs {
                proxies: &[Redis],
                ..none
            },
            CarelessProducers => Needs {
                proxies: &[Kafka],
                is_careless: true,
                ..none
            },
            Poison => Needs {
                is_poisoned: true,
                ..none
            },
            PostgresOutOfDisk => Needs {
                small_disk: true,
                ..none
            },
            ClockJumps => Needs { clock: true, ..none },
            _ => none,
        }
    }

    /// Why it cannot happen here, if it cannot.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        match self.kind {
            BrokerKilled if brokers() < 3 => Some("needs three brokers: `make faults` starts them"),
            PostgresOutOfDisk if !crate::disk::can_mount() => Some("only root can mount a small disk"),
            VersionsSideBySide if previous_binary().is_none() => {
                Some("REDLINE_PREVIOUS_BIN names no binary: `make faults` builds it")
            }
            _ => None,
        }
    }
}

/// The binary of the version before.
fn previous_binary() -> Option<std::path::PathBuf> {
    std::env::var_os("REDLINE_PREVIOUS_BIN").map(std::path::PathBuf::from)
}

/// How many brokers there are.
pub(crate) fn brokers() -> usize {
    broker_ports().len()
}

/// Of each broker the port where a proxy may stand, and the one that it leads to.
fn broker_ports() -> Vec<(u16, u16)> {
    let text =
        std::env::var("REDLINE_TEST_KAFKA_PROXIES").expect("the harness starts Kafka and tells its ports");
    text.split(',')
        .map(|pair| {
            let (proxy, proxied) = pair.split_once('=').expect("PORT=PORT");
            (proxy.parse().expect("a port"), proxied.parse().expect("a port"))
        })
        .collect()
}

/// Proxies before all brokers, switched off.
pub(crate) fn before_brokers() -> Vec<Proxy> {
    broker_ports()
        .into_iter()
        .map(|(proxy, proxied)| {
            Proxy::between(
                SocketAddr::from(([127, 0, 0, 1], proxy)),
                &format!("127.0.0.1:{proxied}"),
            )
        })
        .collect()
}

/// A producer without idempotence, led through the proxies.
pub(crate) fn careless_producer(led: &[(String, String)]) -> FutureProducer {
    let brokers = led.iter().find(|(name, _)| name == "KAFKA_BOOTSTRAP_SERVERS");
    let (_, brokers) = brokers.expect("the fault asks for proxies before Kafka");
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "false")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("retries", "100")
        .set("retry.backoff.ms", "20")
        .set("message.timeout.ms", "20000")
        .create()
        .expect("a producer")
}

/// What has to be so before workers start.
pub(crate) async fn prepare(fault: &Fault, run: &mut Run) {
    match fault.kind {
        RedisLying => redis::lie(run).await,
        PostgresDeadlocks => postgres::notice_deadlocks_soon(run).await,
        _ => {}
    }
}

/// Lets it happen, and heals it.
pub(crate) async fn inject(fault: &Fault, run: &mut Run) {
    match fault.kind {
        WorkerKilled => workers::killed(run).await,
        WorkerKilledAt(point) => workers::killed_at(run, point).await,
        WorkerHeldAtCommit => workers::held_at_commit(run).await,
        WorkerStopped => workers::stopped(run).await,
        WorkerStoppedInsideCopy => workers::stopped_inside_copy(run).await,
        DeriverKilled => workers::killed_while_deriving(run).await,
        RebalanceStorm => workers::come_and_go(run).await,
        ClockJumps => workers::clocks_jump(run).await,
        VersionsSideBySide => workers::side_by_side(run, previous_binary()).await,
        Poison => workers::killed(run).await,
        RelayKilled => roles::relay_killed(run).await,
        RelayStopped => roles::relay_stopped(run).await,
        IngestKilled => roles::ingest_killed(run).await,
        RegistryCrashed => roles::registry_crashed(run).await,
        PostgresCrashed => postgres::crashed(run).await,
        PostgresReadOnly => postgres::read_only(run).await,
        PostgresOutOfConnections => postgres::out_of_connections(run).await,
        PostgresOutOfDisk => postgres::out_of_disk(run).await,
        PostgresDeadlocks => postgres::deadlocks(run).await,
        PostgresSerialization => postgres::serialization_failures(run).await,
        RedisCrashed => redis::crashed(run).await,
        RedisFlushed => redis::flushed(run).await,
        RedisLying => run.go_on(300, 500).await,
        RedisRefusing => redis::refusing_writes(run).await,
        RedisFailedOver => redis::failed_over(run).await,
        BrokerKilled => kafka::broker_killed(run).await,
        KafkaStopped => kafka::stopped(run).await,
        OffsetsMoved => kafka::offsets_moved(run).await,
        PartitionsAdded => kafka::partitions_added(run).await,
        CarelessProducers => network::reset(run, Kafka).await,
        Network(Cut, peer) => network::cut(run, peer).await,
        Network(Slow, peer) => network::slow(run, peer).await,
        Network(Reset, peer) => network::reset(run, peer).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len());
        assert!(SHORT.iter().all(|name| names.contains(name)));
    }
}
