//! One run: an installation of its own, the real binary as separate processes, one fault, and what is found afterwards.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redline_tests::pace::recorded;
use redline_tests::{Installation, Plan, Process, Proxy, Random, until};
use sqlx::{Connection as _, PgConnection};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::faults::{self, Fault, Needs, Peer};
use crate::feed::{Feed, Manner, Place};
use crate::stream::{Known, known};
use crate::verdict::Verdict;

/// Long enough for a busy machine; a run that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Many small transactions, so that a fault hits between and inside them, and short timeouts, so that what stopped is
/// noticed soon.
const WORK: &[(&str, &str)] = &[
    ("REDLINE_WORK__BATCH_RECORDS", "50"),
    ("REDLINE_WORK__LINGER_MILLISECONDS", "5"),
    ("REDLINE_WORK__SESSION_TIMEOUT_MILLISECONDS", "1500"),
    ("REDLINE_WORK__STATEMENT_TIMEOUT_MILLISECONDS", "3000"),
    ("REDLINE_WORK__LOCK_TIMEOUT_MILLISECONDS", "1000"),
    ("REDLINE_WORK__IDLE_IN_TRANSACTION_TIMEOUT_MILLISECONDS", "1000"),
];

/// A run under way.
pub(crate) struct Run {
    pub(crate) redline: Installation,
    pub(crate) known: Known,
    pub(crate) random: Random,
    pub(crate) feed: Feed,
    pub(crate) door: Option<Process>,
    place: Arc<Mutex<Place>>,
    pub(crate) relay: Option<Process>,
    pub(crate) workers: Vec<Process>,
    /// Between the workers, or the first of them, and a service.
    pub(crate) proxies: Vec<(Peer, Proxy)>,
    pub(crate) clock: Option<Clock>,
    pub(crate) disk: Option<Disk>,
    /// How the workers are led to the proxies.
    led: Vec<(String, String)>,
    only_first_is_led: bool,
    binary: Option<std::path::PathBuf>,
}

/// What is to be said of a run.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    /// From the end of the fault until all that had been sent by then was recorded.
    pub(crate) recovery: Duration,
}

/// Runs a fault with a seed. Panics when it comes to no end; then the installation is kept.
pub(crate) async fn run(fault: &'static Fault, seed: u64) -> Told {
    let mut run = Run::begin(fault, seed).await;
    faults::inject(fault, &mut run).await;
    let began = Instant::now();
    run.wait_for_what_was_sent().await;
    let recovery = began.elapsed();
    let verdict = run.end().await;
    Told { verdict, recovery }
}

impl Run {
    async fn begin(fault: &'static Fault, seed: u64) -> Self {
        let needs = fault.needs();
        let known = known(seed, needs.facts);
        // Each fault takes another way through the same stream.
        let mixed = fault.name.bytes().fold(seed, |mixed, byte| {
            mixed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        let random = Random::new(mixed);
        let copies = faults::brokers().to_string();
        let redline = Plan::new(fault.name)
            .partitions(4)
            .rules(&known.simulation.rules_toml)
            .unmigrated()
            .await;
        let disk = match needs.small_disk {
            true => Some(Disk::under(&redline).await),
            false => None,
        };
        // Then whatever way the group balances partitions, two workers have rows to read.
        for topic in [&redline.topics.orders, &redline.topics.payouts] {
            redline.kafka.create_topic(topic, 1, &[]).await;
        }
        let migrated = redline
            .run_with(&["migrate"], &[("REDLINE_MIGRATE__REPLICATION_FACTOR", &copies)])
            .await;
        assert_eq!(migrated.code, 0, "`redline migrate` fails: {}", migrated.stderr);
        let (proxies, led) = lead(&redline, needs).await;
        let door = redline.ingest().await;
        let place = Arc::new(Mutex::new(Place::of(&door)));
        let manner = match needs.is_careless {
            true => Manner::Careless(faults::careless_producer(&led)),
            false => Manner::Door(Arc::clone(&place)),
        };
        let feed = Feed::of(&redline, &known.messages, manner, needs.is_poisoned).await;
        let clock = needs.clock.then(|| Clock::beside(&redline));
        let mut run = Self {
            relay: Some(redline.relay()),
            door: Some(door.process),
            workers: Vec::new(),
            only_first_is_led: needs.only_first_is_led,
            binary: None,
            redline,
            known,
            random,
            feed,
            place,
            proxies,
            clock,
            disk,
            led,
        };
        faults::prepare(fault, &mut run).await;
        run.start_worker();
        run.start_worker();
        run.redline.wait_for_owners(2, PATIENCE).await;
        run
    }

    /// Waits until so many more records are recorded; more are on their way.
    pub(crate) async fn go_on(&mut self, least: usize, most: usize) {
        let more = least + self.random.below(most - least + 1);
        let begin = self.recorded().await;
        let goal = begin + more;
        until("the run is under way", PATIENCE, async || {
            self.feed.reach(goal);
            match recorded(&self.redline.pool).await {
                Some(found) if found >= goal => Ok(()),
                found => Err(format!("{found:?} of {goal} records are recorded")),
            }
        })
        .await;
    }

    /// Records in the control totals.
    pub(crate) async fn recorded(&self) -> usize {
        until("Postgres tells how much is recorded", PATIENCE, async || {
            recorded(&self.redline.pool)
                .await
                .ok_or_else(|| "it does not".to_owned())
        })
        .await
    }

    /// A pause of so many milliseconds.
    pub(crate) async fn pause(&mut self, least: usize, most: usize) {
        let milliseconds = least + self.random.below(most - least + 1);
        tokio::time::sleep(Duration::from_millis(
            u64::try_from(milliseconds).expect("a short pause"),
        ))
        .await;
    }

    /// The proxy before a service.
    pub(crate) fn proxy(&self, peer: Peer) -> &Proxy {
        let found = self.proxies.iter().find(|(found, _)| *found == peer);
        &found.expect("the fault asks for this proxy").1
    }

    /// All proxies before a service: Kafka has as many as brokers.
    pub(crate) fn proxies(&self, peer: Peer) -> impl Iterator<Item = &Proxy> {
        self.proxies
            .iter()
            .filter(move |(found, _)| *found == peer)
            .map(|(_, proxy)| proxy)
    }

    /// From now on workers are started with another binary.
    pub(crate) fn use_binary(&mut self, binary: Option<std::path::PathBuf>) {
        self.binary = binary;
    }

    /// Starts a worker, behind those that run.
    pub(crate) fn start_worker(&mut self) {
        let worker = self.worker(self.workers.is_empty());
        self.workers.push(worker);
    }

    fn worker(&self, is_first: bool) -> Process {
        let mut variables: Vec<(&str, &str)> = WORK.to_vec();
        if is_first || !self.only_first_is_led {
            variables.extend(
                self.led
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
        }
        let clock = self.clock.as_ref().map(Clock::variables).unwrap_or_default();
        variables.extend(clock.iter().map(|(name, value)| (*name, value.as_str())));
        let binary = self.binary.as_ref().unwrap_or(&self.redline.services.binary);
        self.redline.start_other(binary, "work", &variables)
    }

    /// Kills a worker and starts another one in its place.
    pub(crate) fn replace_worker(&mut self, number: usize) {
        let successor = self.worker(number == 0);
        std::mem::replace(&mut self.workers[number], successor).kill9();
    }

    /// Kills a worker; answers when it is gone.
    pub(crate) fn kill_worker(&mut self, number: usize) {
        self.workers.remove(number).kill9();
    }

    /// Starts a worker where one was killed.
    pub(crate) fn start_worker_at(&mut self, number: usize) {
        let worker = self.worker(number == 0);
        self.workers.insert(number, worker);
    }

    /// One of the workers.
    pub(crate) fn any_worker(&mut self) -> usize {
        self.random.below(self.workers.len())
    }

    /// Kills the door and opens another one, at another address.
    pub(crate) async fn replace_door(&mut self) {
        if let Some(door) = self.door.take() {
            door.kill9();
        }
        let door = self.redline.ingest().await;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place::of(&door);
        self.door = Some(door.process);
    }

    /// Kills the relay and starts another one.
    pub(crate) fn replace_relay(&mut self) {
        if let Some(relay) = self.relay.replace(self.redline.relay()) {
            relay.kill9();
        }
    }

    /// A connection to the server's own database, as whoever administers it.
    pub(crate) async fn administrator(&self) -> PgConnection {
        until("Postgres answers", PATIENCE, async || {
            PgConnection::connect(&self.redline.services.database)
                .await
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Ends every connection to the installation's database.
    pub(crate) async fn end_connections(&self, administrator: &mut PgConnection) {
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.redline.name)
            .execute(administrator)
            .await
            .expect("connections can be ended");
    }

    /// Waits until everything is recorded that stands in the input topics now.
    async fn wait_for_what_was_sent(&self) {
        let mut ends = Vec::new();
        for topic in [&self.redline.topics.rows, &self.redline.topics.facts] {
            for (partition, (_, end)) in self.redline.kafka.log_ends(topic).await {
                ends.push((topic.clone(), partition, end));
            }
        }
        until("what was sent before is recorded", PATIENCE, async || {
            for (topic, partition, end) in &ends {
                let next: Option<i64> = sqlx::query_scalar(
                    "select next_offset from redline.positions
                     where topic = $1 and partition = $2 and superseded_at is null",
                )
                .bind(topic)
                .bind(partition)
                .fetch_optional(&self.redline.pool)
                .await
                .map_err(|error| error.to_string())?;
                if next.unwrap_or(0) < *end {
                    return Err(format!(
                        "partition {partition} of {topic} stands at {next:?} of {end}"
                    ));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Sends the rest, waits until it is quiet, tells everything to stop, and looks.
    async fn end(self) -> Verdict {
        let Self {
            redline,
            known,
            feed,
            door,
            relay,
            workers,
            disk,
            ..
        } = self;
        let poisons = feed.end().await;
        redline.wait_quiet(PATIENCE).await;
        redline
            .stop(workers.into_iter().chain(relay).chain(door).collect())
            .await;
        let verdict = Verdict::of(&redline, &known, &poisons).await;
        if verdict.is_clean() {
            redline.remove().await;
        } else {
            redline.keep();
        }
        if let Some(disk) = disk {
            disk.remove().await;
        }
        verdict
    }
}

/// Puts proxies before the services that a fault is about; answers them, switched on, and what leads workers to them.
async fn lead(redline: &Installation, needs: Needs) -> (Vec<(Peer, Proxy)>, Vec<(String, String)>) {
    let (mut proxies, mut led) = (Vec::new(), Vec::new());
    let services = &redline.services;
    for peer in needs.proxies {
        let variable = match peer {
            Peer::Postgres => "DATABASE_URL",
            Peer::Redis => "REDIS_URL",
            Peer::Registry => "SCHEMA_REGISTRY_URL",
            Peer::Kafka => "KAFKA_BOOTSTRAP_SERVERS",
        };
        let url = match peer {
            Peer::Postgres => &redline.database_url,
            Peer::Redis => &services.redis,
            Peer::Registry => &services.registry,
            Peer::Kafka => {
                let before_brokers = faults::before_brokers();
                let addresses: Vec<String> = before_brokers
                    .iter()
                    .map(|proxy| proxy.address().to_string())
                    .collect();
                led.push((variable.to_owned(), addresses.join(",")));
                proxies.extend(before_brokers.into_iter().map(|proxy| (*peer, proxy)));
                continue;
            }
        };
        let (proxy, url) = Proxy::before_url(url).await;
        led.push((variable.to_owned(), url));
        proxies.push((*peer, proxy));
    }
    for (_, proxy) in &mut proxies {
        proxy.on().await;
    }
    (proxies, led)
}
