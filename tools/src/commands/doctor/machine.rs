//! This machine: addresses to listen on, where traces go, and open files.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::report::{Outcome, Report};
use crate::settings::Settings;

const SERVICE: &str = "machine";
/// Files beside the door's connections: Kafka's, Postgres's and our own.
const FILES: u64 = 256;
/// How long whoever has an address may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks this machine.
pub(super) async fn check(report: &mut Report, settings: &Settings) -> anyhow::Result<()> {
    let door = Some((
        "ingest.listen",
        settings.ingest.listen,
        "/healthz",
        r#"{"status":"alive"}"#,
    ));
    let metrics = [
        ("work.metrics_listen", settings.work.metrics_listen),
        ("relay.metrics_listen", settings.relay.metrics_listen),
    ];
    let metrics = metrics
        .into_iter()
        .filter_map(|(key, address)| Some((key, address?, "/metrics", "redline_")));
    let addresses: Vec<_> = door.into_iter().chain(metrics).collect();
    for (place, (key, address, path, word)) in addresses.iter().enumerate() {
        let before = addresses[..place].iter();
        let same = before
            .into_iter()
            .find(|(_, other, ..)| collide(*other, *address));
        if let Some((other, ..)) = same {
            report.say(SERVICE, key, same_address(key, other, *address))?;
            continue;
        }
        let asked = listening(key, *address, path, word);
        report.ask(SERVICE, key, "take another port", asked).await?;
    }
    if let Some(endpoint) = &settings.traces.endpoint {
        let fix = "look at the collector, and at traces.endpoint; nothing else needs it";
        let asked = collector(endpoint, fix);
        report.ask(SERVICE, "traces.endpoint", fix, asked).await?;
    }
    let limits = std::fs::read_to_string("/proc/self/limits").ok();
    let open = limits.as_deref().and_then(open_files);
    let needed = settings.ingest.max_connections.get() as u64 + FILES;
    report.say(SERVICE, "open files", judge_files(open, needed))?;
    Ok(())
}

/// Whether two cannot both be listened on by one machine.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && is_same_host
}

fn same_address(key: &str, other: &str, address: SocketAddr) -> Outcome {
    Outcome::warning(
        format!("{address} is that of {other} too; on one machine only one of them can have it"),
        format!("set {key} to another port, unless they run on different machines"),
    )
}

/// Whether somebody takes connections where traces go.
async fn collector(endpoint: &str, fix: &str) -> Outcome {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let authority = rest.split('/').next().unwrap_or_default();
    let place = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:{}", if scheme == "https" { 443 } else { 80 }),
    };
    match TcpStream::connect(&place).await {
        Ok(_) => Outcome::ok(format!("somebody takes connections at {place}")),
        Err(error) => Outcome::warning(format!("nobody takes traces at {place}: {error}"), fix),
    }
}

/// Whether an address is free, or one of us has it.
async fn listening(key: &str, address: SocketAddr, path: &str, word: &str) -> Outcome {
    let other = format!("set {key} to another port, or stop what listens there");
    match TcpListener::bind(address).await {
        Ok(_) => Outcome::ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let asked = tokio::time::timeout(PATIENCE, get(address, path)).await;
            match asked {
                Ok(Ok(answer)) if answer.contains(word) => Outcome::ok(format!(
                    "a Redline answers at {address}; right if it is of this installation"
                )),
                _ => Outcome::failed(format!("{address} is taken by another program"), other),
            }
        }
        Err(error) => Outcome::failed(
            format!("{address} cannot be listened on: {error}"),
            format!("set {key} to an address of this machine, and a port that this user may open"),
        ),
    }
}

/// The beginning of an answer.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    const MOST: u64 = 64 * 1024;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The soft limit of open files, as Linux tells it.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn judge_files(open: Option<u64>, needed: u64) -> Outcome {
    match open {
        None => Outcome::skipped("this system does not tell"),
        Some(u64::MAX) => Outcome::ok("without limit"),
        Some(open) if open < needed => Outcome::warning(
            format!("{open} at most; a door with all its connections needs {needed}"),
            "raise the limit (ulimit -n, LimitNOFILE of systemd), or lower ingest.max_connections",
        ),
        Some(open) => Outcome::ok(format!("{open} at most")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_read_and_compared() {
        let line = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(open_files(line), Some(1_024));
        assert_eq!(
            open_files("Max open files   unlimited   unlimited   files"),
            Some(u64::MAX)
        );
        assert_eq!(open_files(""), None);
        let told = [None, Some(u64::MAX), Some(1_024), Some(524_288)];
        let told = told.map(|open| format!("{:#?}", judge_files(open, 1_280)));
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn addresses_that_one_machine_cannot_give_twice_are_seen() {
        let collides = |one: &str, other: &str| collide(one.parse().unwrap(), other.parse().unwrap());
        assert!(collides("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(collides("0.0.0.0:8080", "127.0.0.1:8080"));
        assert!(!collides("127.0.0.1:8080", "127.0.0.1:9102"));
        assert!(!collides("127.0.0.1:8080", "192.0.2.1:8080"));
        assert!(!collides("127.0.0.1:0", "127.0.0.1:0"), "any free one");
    }

    #[tokio::test]
    async fn a_collector_takes_connections_or_is_named_with_the_setting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let there = collector(&format!("http://{address}/v1"), "fix").await;
        assert_eq!(
            there,
            Outcome::ok(format!("somebody takes connections at {address}"))
        );
        drop(listener);
        let away = format!(
            "{:?}",
            collector(&format!("http://{address}"), "look at traces.endpoint").await
        );
        assert!(
            away.contains("Warning") && away.contains("look at traces.endpoint"),
            "{away}"
        );
    }

    #[tokio::test]
    async fn an_address_is_free_or_ours_or_taken() {
        let free = listening(
            "ingest.listen",
            "127.0.0.1:0".parse().unwrap(),
            "/healthz",
            "alive",
        )
        .await;
        assert_eq!(free, Outcome::ok("127.0.0.1:0 is free"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |text: &'static str| async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1_024];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            drop(stream);
            listener
        };
        let asked = || listening("ingest.listen", address, "/healthz", "alive");
        let (outcome, listener) =
            tokio::join!(asked(), answer("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"alive\"}"));
        let ours = format!("a Redline answers at {address}; right if it is of this installation");
        assert_eq!(outcome, Outcome::ok(ours));
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
        };
        let (outcome, ()) = tokio::join!(asked(), answer);
        let expected = Outcome::failed(
            format!("{address} is taken by another program"),
            "set ingest.listen to another port, or stop what listens there",
        );
        assert_eq!(outcome, expected);
        let foreign = listening(
            "ingest.listen",
            "192.0.2.1:0".parse().unwrap(),
            "/healthz",
            "alive",
        )
        .await;
        assert!(
            format!("{foreign:?}").contains("cannot be listened on"),
            "{foreign:?}"
        );
    }
}
