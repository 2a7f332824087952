//! What all connections have in common: secrets from files, and what is wrong with TLS in words that name the fix.
//!
//! A connection fails in one of two ways. Nobody answers: that is waited for. Or somebody answers and will not do before
//! a person acts: a password is refused, a certificate has expired or is for another name, one side speaks TLS and the
//! other does not. At the start of a role this ends it with one sentence; while it works it is waited for as well,
//! because what was rotated on one side may yet be rotated on the other, and the sentence goes to the log.

pub mod secret;
pub mod tls;

use std::fmt;

/// The settings by which a connection is made, as its errors name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys {
    /// The address, such as `registry.url`.
    pub address: &'static str,
    /// The certificate of the authority, such as `registry.ca_file`.
    pub authority: &'static str,
    /// A certificate of our own, where one can be set, such as `sslcert and sslkey in database.url`.
    pub certificate: Option<&'static str>,
    /// User and password or token, such as `registry.username and registry.password`.
    pub login: &'static str,
}

/// Somebody refuses a login. The words are theirs.
pub fn refused_login(whom: impl fmt::Display, words: impl fmt::Display, keys: Keys) -> String {
    format!("{whom} refuses the login ({words}); look at {}", keys.login)
}
