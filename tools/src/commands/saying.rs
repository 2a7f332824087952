//! What commands that say facts have in common: they decide by what is recorded, so that must be everything that was said.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use redline_consumer::cluster::{Cluster, ClusterError};
use redline_producer::Tally;
use redline_producer::encode::Encoder;
use redline_producer::facts;
use redline_producer::publisher::Publisher;
use redline_schemas::fact::Fact;
use redline_store::quiet;
use redline_store::sqlx::PgPool;

use super::{connecting, counted, spinner};
use crate::settings::Settings;

/// How long recording may make no progress.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before it is looked at again.
const PAUSE: Duration = Duration::from_millis(250);

/// Who says a fact: whom the command names, else the user of this system, else the command itself.
pub(super) fn said_by(given: Option<&str>, command: &str) -> String {
    let user = || {
        let names = ["USER", "LOGNAME"].into_iter();
        let mut names = names.filter_map(|name| std::env::var(name).ok());
        names.find(|name| !name.is_empty())
    };
    given
        .map(str::to_owned)
        .or_else(user)
        .unwrap_or_else(|| format!("redline {command}"))
}

/// Waits until the facts that Kafka has are recorded, as long as workers make progress. Otherwise a fact that was said a
/// moment ago would not be seen: its version would be given again, and of the two the greater hash would stand.
pub(super) async fn until_recorded(settings: &Settings, pool: &PgPool) -> anyhow::Result<()> {
    let cluster = Cluster::new(&settings.kafka)?;
    let bar = spinner()?;
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        let behind = match behind(&settings.topics.facts, &cluster, pool).await {
            Ok(behind) => behind,
            // A topic that was made a moment ago has no leaders yet.
            Err(error) if error.is::<ClusterError>() && since.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if behind == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        if behind < least {
            (least, since) = (behind, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            bar.finish_and_clear();
            bail!(
                "{} in Kafka and not recorded, so it cannot be told what stands; nothing was sent. Start `redline work`, or \
                 wait for it with `redline doctor --quiet --wait 60`, and try again",
                counted(behind, "fact is", "facts are")
            );
        }
        bar.set_message(format!(
            "waiting until {} recorded",
            counted(behind, "fact is", "facts are")
        ));
        bar.tick();
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many facts are in Kafka and not recorded.
async fn behind(topic: &str, cluster: &Cluster, pool: &PgPool) -> anyhow::Result<i64> {
    // Kafka first: what it has now must be in what Postgres says afterwards.
    let mut logs = Vec::new();
    let partitions = cluster.partitions(topic).await;
    let partitions = partitions.context("run `redline migrate`, and look at kafka.bootstrap_servers")?;
    for partition in 0..partitions {
        logs.push(cluster.describe(topic, partition).await?);
    }
    let state = quiet::state(&mut *pool.acquire().await?).await?;
    Ok(logs.iter().map(|log| state.behind(log)).sum())
}

/// Publishes facts, each with its line, and waits until Kafka has acknowledged them.
pub(super) async fn send(settings: &Settings, facts: Vec<(u64, Fact)>) -> anyhow::Result<Tally> {
    connecting::kafka(settings).await?;
    let publisher = Publisher::new(&settings.kafka, Duration::from_secs(30))?;
    let encoder = Encoder::new(settings.registry.client()?, settings.topics.clone());
    let (bar, all) = (spinner()?, facts.len());
    let tally = facts::publish(facts, &publisher, &encoder, |acknowledged| {
        bar.set_message(format!("{acknowledged} of {all} facts are in Kafka"));
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    Ok(tally?)
}
