//! The client for making topics and reading their settings.
#![expect(
    unsafe_code,
    reason = "rdkafka's AdminClient never asks for a token; one is given to it over FFI"
)]

use std::ffi::{CStr, CString};

use rdkafka::ClientContext as _;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as ffi;

use super::callbacks::{Asking, Callbacks};
use super::create;
use super::reach::Unreached;
use super::settings::KafkaSettings;

/// A client that makes topics. Nothing but its own answers is read from its queues: no errors, no log, and no request
/// for a token, so that it has the one token with which it was made and is good for commands, not for roles.
pub type Admin = AdminClient<Asking>;

/// Makes one. Over OAUTHBEARER it fetches a token, which blocks its thread.
///
/// # Errors
/// When a property is wrong, or there is no token.
pub async fn admin(settings: &KafkaSettings) -> Result<Admin, Unreached> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || make(&settings))
        .await
        .unwrap_or_else(|error| Err(Unreached::Away(error.to_string())))
}

fn make(settings: &KafkaSettings) -> Result<Admin, Unreached> {
    let context = Asking(Callbacks::quiet(settings));
    let admin: Admin = create(&settings.client_config(), context)
        .map_err(|error| Unreached::Unusable(format!("kafka.client: {error}")))?;
    if settings.wants_tokens() && settings.oauth.token_url.is_some() {
        give_token(&admin)?;
    }
    Ok(admin)
}

fn give_token(admin: &Admin) -> Result<(), Unreached> {
    let away = |reason: String| Unreached::Away(reason);
    let context = admin.inner().context();
    let token = context
        .generate_oauth_token(None)
        .map_err(|error| away(error.to_string()))?;
    let text = CString::new(token.token).map_err(|_| away("the token holds a zero byte".to_owned()))?;
    let name = CString::new(token.principal_name)
        .map_err(|_| away("kafka.oauth.client_id holds a zero byte".to_owned()))?;
    let mut reason = [0; 512];
    // SAFETY: the client lives as long as `admin`; both texts outlive the call, which copies them; there are no
    // extensions; the reason is written into a buffer of the length that is told, and ends with a zero byte.
    let code = unsafe {
        ffi::rd_kafka_oauthbearer_set_token(
            admin.inner().native_ptr(),
            text.as_ptr(),
            token.lifetime_ms,
            name.as_ptr(),
            std::ptr::null_mut(),
            0,
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    if code == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: as above; the buffer began as zeros.
    let reason = unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy();
    Err(Unreached::Unusable(format!(
        "librdkafka does not take the token: {reason}"
    )))
}
