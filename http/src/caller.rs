//! Who asks: the key and the address that a request came with, and the limits of the door that it came through.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;

use crate::limits::Limits;
use crate::problem::Problem;

/// Who asks. What is not there is not limited: a request that came through no door has neither address nor limits.
/// It is not printed, for it holds a secret.
#[derive(Clone, Default)]
pub struct Caller {
    /// The text behind `Authorization: Bearer`.
    pub(crate) bearer: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) limits: Option<Arc<Limits>>,
}

impl Caller {
    /// Reads it off a request, to which the door added the address and its limits.
    pub fn of(parts: &Parts) -> Self {
        let bearer = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim().to_owned());
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Self {
            bearer,
            address: address.map(|ConnectInfo(address)| address.ip()),
            limits: parts.extensions.get::<Arc<Limits>>().cloned(),
        }
    }

    /// Counts a wrong key against the address that showed it.
    pub(crate) fn wrong_key(&self) -> Result<(), Box<Problem>> {
        match (&self.limits, self.address) {
            (Some(limits), Some(address)) => limits.wrong_key(address),
            _ => Ok(()),
        }
    }

    /// Counts a request of the key of this name.
    pub(crate) fn request(&self, key: &str) -> Result<(), Box<Problem>> {
        self.limits.as_ref().map_or(Ok(()), |limits| limits.request(key))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}
