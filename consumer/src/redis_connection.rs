//! The connection to Redis, and what is wrong with it in words.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError, TlsCertificates,
};
use redline_connections::tls::{self, TlsTrouble};
use redline_connections::{Keys, refused_login};

/// The settings of this connection, as errors name them.
const KEYS: Keys = Keys {
    address: "redis.url (redis:// or rediss://)",
    authority: "redis.ca_file",
    certificate: None,
    login: "the user in redis.url, its password there or in redis.password, and what it may do (ACL)",
};

/// Why Redis was not reached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RedisTrouble {
    /// Nobody answers. Class: try again.
    #[error("{0}")]
    Away(String),
    /// Somebody has to act first. Workers go on without it.
    #[error("{0}")]
    Unusable(String),
}

/// A client; it connects when it is first used. With `rediss://` an authority's certificate, in PEM, is the only one
/// that is trusted; none is whom the system trusts.
///
/// # Errors
/// When the address cannot be read, without the address: it may hold a password.
pub fn client(url: &str, authority: Option<&[u8]>) -> Result<redis::Client, String> {
    let refused = |_: RedisError| {
        "redis.url is not of the form redis://host:port/database or rediss://user:password@host:port/"
            .to_owned()
    };
    tls::choose_cryptography();
    let address: ConnectionInfo = url.into_connection_info().map_err(refused)?;
    let is_tls = matches!(address.addr(), ConnectionAddr::TcpTls { .. });
    match authority {
        None => redis::Client::open(address).map_err(refused),
        Some(_) if !is_tls => Err(
            "redis.ca_file is set, and redis.url begins with redis://, which speaks no TLS; write \
                                   rediss://"
                .to_owned(),
        ),
        Some(text) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(text.to_vec()),
            };
            redis::Client::build_with_tls(address, certificates)
                .map_err(|error| format!("redis.ca_file cannot be used: {error}"))
        }
    }
}

/// Whether Redis can be used for marks under this prefix.
///
/// # Errors
/// See [`RedisTrouble`]; a sentence with the setting and the fix.
pub async fn reach(client: &redis::Client, prefix: &str, patience: Duration) -> Result<(), RedisTrouble> {
    let asked = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        // What a worker reads and writes, under a name that no content has.
        let key = format!("{prefix}reached");
        let mut pipeline = redis::pipe();
        pipeline.cmd("MGET").arg(&key).ignore();
        pipeline.cmd("SET").arg(&key).arg("1").arg("EX").arg(1).ignore();
        pipeline.query_async::<()>(&mut connection).await
    };
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match told(client, &error) {
            RedisTrouble::Away(told) => or_tls_alone(client, told).await,
            unusable => unusable,
        }),
        Err(_) => {
            let told = format!(
                "{} does not answer in time; look at it, and at {}",
                named(client),
                KEYS.address
            );
            Err(or_tls_alone(client, told).await)
        }
    }
}

/// What does not answer in plain text may answer in TLS.
async fn or_tls_alone(client: &redis::Client, told: String) -> RedisTrouble {
    const PATIENCE: Duration = Duration::from_secs(3);
    if let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() {
        let (host, port) = (host.clone(), *port);
        let answers = tokio::task::spawn_blocking(move || tls::answers_in_tls(&host, port, PATIENCE));
        if answers.await.unwrap_or_default() {
            return RedisTrouble::Unusable(TlsTrouble::OnlyTls.told(named(client), KEYS));
        }
    }
    RedisTrouble::Away(told)
}

/// An error in words that name the setting where one is to be looked at.
pub(crate) fn told(client: &redis::Client, error: &RedisError) -> RedisTrouble {
    let named = named(client);
    if let Some(trouble) = TlsTrouble::of(error) {
        return RedisTrouble::Unusable(trouble.told(named, KEYS));
    }
    let is_login = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"));
    if is_login {
        return RedisTrouble::Unusable(refused_login(named, error, KEYS));
    }
    RedisTrouble::Away(format!(
        "{named} does not answer ({error}); look at it, and at {}",
        KEYS.address
    ))
}

fn named(client: &redis::Client) -> String {
    format!("Redis at {}", client.get_connection_info().addr())
}
