//! Redis: whether it is there, may be used for marks, and makes room for new ones.

use std::collections::HashMap;
use std::time::Duration;

use redline_consumer::redis_connection;

use super::PATIENCE;
use super::report::{Outcome, Report};
use crate::settings::Settings;

const SERVICE: &str = "redis";
const LOOK: &str = "start Redis, or mend redis.url or its login (docs/guides/connections.md); workers go on without it, and look up more \
                    in Postgres";

/// What Redis says about itself.
type About = HashMap<String, String>;

/// Checks Redis.
pub(super) async fn check(report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let mut found = None;
    let asked = async {
        match asked(settings).await {
            Ok(about) => {
                let outcome = judge_server(&about);
                found = Some(about);
                outcome
            }
            Err(error) => Outcome::failed(error.to_string(), LOOK),
        }
    };
    report.ask(SERVICE, "server", LOOK, asked).await?;
    let memory = match &found {
        Some(about) => judge_memory(about),
        None => Outcome::skipped("Redis cannot be used"),
    };
    report.say(SERVICE, "memory", memory)?;
    Ok(())
}

async fn asked(settings: &Settings) -> anyhow::Result<About> {
    let client = settings.redis.client()?;
    // Shorter than the report's own patience, so that Redis' words arrive.
    let patience = PATIENCE.saturating_sub(Duration::from_secs(1));
    redis_connection::reach(&client, &settings.work.mark_prefix, patience).await?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let about = redis::cmd("INFO").query_async::<String>(&mut connection).await;
    // Who may not ask that can be of use all the same.
    Ok(read(&about.unwrap_or_default()))
}

/// Reads the lines `name:value` of INFO.
fn read(text: &str) -> About {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn judge_server(about: &About) -> Outcome {
    let (name, version) = match (about.get("valkey_version"), about.get("redis_version")) {
        (Some(version), _) => ("Valkey", version),
        (None, Some(version)) => ("Redis", version),
        (None, None) => return Outcome::ok("it takes marks, and does not say which version it is"),
    };
    let major: u32 = version
        .split('.')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    if major < 7 {
        return Outcome::warning(
            format!("{name} {version}; it takes marks, and was never tested"),
            "use Redis 7 or newer, or Valkey",
        );
    }
    if about.get("role").is_some_and(|role| role == "slave") {
        return Outcome::warning(
            format!("{name} {version} is a replica"),
            "name the primary in redis.url",
        );
    }
    Outcome::ok(format!("{name} {version}; it takes marks"))
}

fn judge_memory(about: &About) -> Outcome {
    let number = |name: &str| about.get(name).and_then(|text| text.parse::<u64>().ok());
    let policy = about.get("maxmemory_policy").map_or("unknown", String::as_str);
    match number("maxmemory") {
        None => Outcome::skipped("Redis does not tell"),
        Some(0) => Outcome::ok(format!(
            "{} MiB, without limit",
            number("used_memory").unwrap_or_default() >> 20
        )),
        Some(limit) if policy == "noeviction" => Outcome::warning(
            format!(
                "of {} MiB nothing makes room (noeviction): when they are full, no mark is taken",
                limit >> 20
            ),
            "set maxmemory-policy to volatile-ttl or allkeys-lru; marks may go at any time",
        ),
        Some(limit) => Outcome::ok(format!("{} MiB, {policy}", limit >> 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_redis_is_said_with_what_to_do() {
        let texts = [
            "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nused_memory:2097152\r\nmaxmemory:0\r\n",
            "redis_version:6.2.1\r\nmaxmemory:104857600\r\nmaxmemory_policy:noeviction\r\n",
            "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\nrole:slave\r\nmaxmemory:104857600\r\nmaxmemory_policy:allkeys-lru\r\n",
            "",
        ];
        let told = texts.map(|text| {
            let about = read(text);
            format!("{:#?}\n{:#?}", judge_server(&about), judge_memory(&about))
        });
        insta::assert_snapshot!(told.join("\n"));
    }
}
