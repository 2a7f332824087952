//! What is wrong with TLS, found in the errors of any client of ours, or by a handshake of our own.

use std::error::Error;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use crate::Keys;

/// Why a TLS connection did not come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsTrouble {
    /// The server's certificate has expired.
    Expired,
    /// It is not valid yet; more often a clock is wrong.
    NotYetValid,
    /// It is for these names, and not for the one that was asked for.
    OtherName(Vec<String>),
    /// It was issued by nobody who is trusted here.
    UnknownAuthority,
    /// The server wants a certificate of ours, or another one.
    WantsCertificate,
    /// What answers does not speak TLS.
    NotTls,
    /// It speaks TLS, and was spoken to in plain text.
    OnlyTls,
    /// Anything else, in the words of the library.
    Other(String),
}

impl TlsTrouble {
    /// The trouble that an error tells of, if it does; wherever in its causes.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::of_rustls(error));
        }
        // An error of input and output hides its own inside, and names that one's cause as its cause.
        if let Some(inside) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return Self::of(inside);
        }
        // So does a shared one; Redis's client has such.
        if let Some(inside) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return Self::of(&**inside);
        }
        Self::of(error.source()?)
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        use rustls::AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName => Self::OtherName(Vec::new()),
                CertificateError::NotValidForNameContext { presented, .. } => {
                    Self::OtherName(presented.clone())
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
                other => Self::Other(format!("its certificate cannot be used: {other}")),
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateExpired
                | Alert::CertificateUnknown,
            ) => Self::WantsCertificate,
            other => Self::Other(other.to_string()),
        }
    }

    /// One sentence about `whom`, with the setting to look at.
    pub fn told(&self, whom: impl std::fmt::Display, keys: Keys) -> String {
        let Keys {
            address, authority, ..
        } = keys;
        match self {
            Self::Expired => format!("the certificate of {whom} has expired; it has to be renewed there"),
            Self::NotYetValid => {
                format!("the certificate of {whom} is not valid yet; look at the clocks on both sides")
            }
            Self::OtherName(names) => {
                let names = match names.as_slice() {
                    [] => String::new(),
                    names => format!(", but for {}", names.join(", ")),
                };
                format!(
                    "the certificate of {whom} is not for this host name{names}; write a name that it has into \
                     {address}, or have one issued for this name"
                )
            }
            Self::UnknownAuthority => format!(
                "the certificate of {whom} comes from an authority that is not trusted here; name the authority's \
                 certificate in {authority}"
            ),
            Self::WantsCertificate => {
                let fix = keys
                    .certificate
                    .map_or_else(String::new, |key| format!("; look at {key}"));
                format!(
                    "{whom} wants a client certificate that it trusts, and was shown none or another one{fix}"
                )
            }
            Self::NotTls => format!("{whom} does not speak TLS on this port; look at {address}"),
            Self::OnlyTls => format!("{whom} speaks only TLS on this port; look at {address}"),
            Self::Other(reason) => format!("{whom} cannot be spoken to over TLS: {reason}"),
        }
    }
}

/// The process's choice of cryptography, once; whoever chose before keeps theirs.
pub fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of authorities in a file; of a text that has none, that is said.
///
/// # Errors
/// A sentence that names the setting and the file.
pub fn authorities(file: &Path, key: &str) -> Result<Vec<u8>, String> {
    let refused = |why: String| format!("{key} names {}, {why}", file.display());
    let text = std::fs::read(file).map_err(|error| refused(format!("which cannot be read: {error}")))?;
    match CertificateDer::pem_slice_iter(&text).next() {
        Some(Ok(_)) => Ok(text),
        Some(Err(error)) => Err(refused(format!("which holds a broken certificate: {error}"))),
        None => Err(refused(
            "which holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned(),
        )),
    }
}

/// Shakes hands with a server, checks its certificate, and hangs up: for clients that do not tell what is wrong with it.
/// Trusted is the authority whose certificate is given, else whom the system trusts. Blocks its thread.
///
/// # Errors
/// The outer error when nobody answers.
pub fn shake_hands(
    host: &str,
    port: u16,
    authority: Option<&[u8]>,
    patience: Duration,
) -> io::Result<Result<(), TlsTrouble>> {
    let mut trusted = RootCertStore::empty();
    match authority {
        Some(text) => {
            trusted.add_parsable_certificates(CertificateDer::pem_slice_iter(text).filter_map(Result::ok));
        }
        None => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket = connect(host, port, patience)?;
    while connection.is_handshaking() {
        match connection.complete_io(&mut socket) {
            Ok(_) => {}
            Err(error) => {
                return match TlsTrouble::of(&error) {
                    Some(trouble) => Ok(Err(trouble)),
                    // Who hangs up on a greeting did not understand it.
                    None if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    ) =>
                    {
                        Ok(Err(TlsTrouble::NotTls))
                    }
                    None => Err(error),
                };
            }
        }
    }
    Ok(refusal(&mut connection, &mut socket).map_or(Ok(()), Err))
}

/// A server that wants a certificate of ours says so only after the handshake, which to us looks done by then.
fn refusal(connection: &mut ClientConnection, socket: &mut TcpStream) -> Option<TlsTrouble> {
    const BRIEFLY: Duration = Duration::from_millis(300);
    /// Tickets for later sessions come first.
    const MOST_MESSAGES: usize = 4;
    socket.set_read_timeout(Some(BRIEFLY)).ok()?;
    (0..MOST_MESSAGES).find_map(|_| TlsTrouble::of(&connection.complete_io(socket).err()?))
}

/// Whether a port answers in TLS, whatever its certificate is worth. Blocks its thread.
pub fn answers_in_tls(host: &str, port: u16, patience: Duration) -> bool {
    match shake_hands(host, port, None, patience) {
        Ok(Ok(())) => true,
        Ok(Err(trouble)) => trouble != TlsTrouble::NotTls,
        Err(_) => false,
    }
}

fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => {
                socket.set_read_timeout(Some(patience))?;
                socket.set_write_timeout(Some(patience))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    const KEYS: Keys = Keys {
        address: "registry.url",
        authority: "registry.ca_file",
        certificate: None,
        login: "registry.username and registry.password",
    };

    #[test]
    fn the_trouble_is_found_wherever_it_hides() {
        let rustls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let hidden = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, rustls));
        assert_eq!(TlsTrouble::of(&hidden), Some(TlsTrouble::Expired));
        assert_eq!(TlsTrouble::of(&io::Error::other("reset")), None);
    }

    #[test]
    fn every_trouble_is_a_sentence_that_names_the_fix() {
        let whom = "the schema registry at https://r:443";
        assert_eq!(
            TlsTrouble::OtherName(vec!["DnsName(\"other\")".to_owned()]).told(whom, KEYS),
            "the certificate of the schema registry at https://r:443 is not for this host name, but for \
             DnsName(\"other\"); write a name that it has into registry.url, or have one issued for this name"
        );
        assert!(
            TlsTrouble::UnknownAuthority
                .told(whom, KEYS)
                .ends_with("in registry.ca_file")
        );
    }

    #[test]
    fn a_server_that_speaks_something_else_does_not_speak_tls() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut hello = [0; 16];
            socket.read_exact(&mut hello).unwrap();
            socket.write_all(b"-ERR unknown command\r\n").unwrap();
        });
        let shaken = shake_hands("127.0.0.1", port, None, Duration::from_secs(5)).unwrap();
        assert_eq!(shaken, Err(TlsTrouble::NotTls));
        server.join().unwrap();
        assert!(shake_hands("127.0.0.1", port, None, Duration::from_secs(5)).is_err());
    }
}
