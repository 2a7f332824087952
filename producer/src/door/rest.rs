//! Hearing clients out: who is answered with an error while still sending a body would find the connection broken, and
//! never read why, nor when to come again.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};

/// Bytes of a body that are read for no other purpose, at most.
const MOST: usize = 8 << 20;
/// For so long at most.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads what is left of the body of a request that was answered with an error, within limits, and keeps nothing of it. A client
/// that waits to be asked for its body is not asked.
pub(super) async fn hear_out(request: Request, next: Next) -> Response {
    let waits_to_be_asked = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let rest = Rest {
        body: Arc::new(Mutex::new(body)),
        was_read: Arc::default(),
    };
    let response = next.run(Request::from_parts(head, Body::new(rest.clone()))).await;
    let status = response.status();
    // Of a body that is too large there is no end to be waited for.
    let is_error =
        (status.is_client_error() || status.is_server_error()) && status != StatusCode::PAYLOAD_TOO_LARGE;
    let is_sending = !waits_to_be_asked || rest.was_read.load(Ordering::Relaxed);
    if is_error && is_sending {
        let _ = tokio::time::timeout(LONGEST, rest.pass_over()).await;
    }
    response
}

/// A body, of which somebody else may read what is left.
#[derive(Clone)]
struct Rest {
    body: Arc<Mutex<Body>>,
    was_read: Arc<AtomicBool>,
}

impl Rest {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, unless it is too far.
    async fn pass_over(mut self) {
        let mut read = 0;
        while read < MOST {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await;
            let Some(Ok(frame)) = frame else { return };
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

impl hyper::body::Body for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.was_read.store(true, Ordering::Relaxed);
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::Router;
    use axum::routing::post;
    use futures_util::{StreamExt as _, stream};
    use tower::ServiceExt as _;

    use super::*;

    const PIECE: usize = 1 << 20;

    /// How many pieces of a body of so many were read by the time of the answer.
    async fn read(status: StatusCode, pieces: usize, expect: Option<&str>) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        let body = stream::iter(0..pieces).map(move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            Ok::<_, axum::Error>(Bytes::from(vec![b'x'; PIECE]))
        });
        let mut request = Request::post("/");
        if let Some(expect) = expect {
            request = request.header(EXPECT, expect);
        }
        let request = request.body(Body::from_stream(body)).expect("a request");
        let router = Router::new()
            .route("/", post(move || async move { status }))
            .layer(axum::middleware::from_fn(hear_out));
        let response = router.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), status);
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn who_is_refused_while_sending_is_heard_out_up_to_a_limit() {
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, 5, None).await, 5);
        assert_eq!(
            read(StatusCode::SERVICE_UNAVAILABLE, 100, None).await,
            MOST / PIECE
        );
    }

    #[tokio::test]
    async fn who_waits_to_be_asked_is_not_asked_and_who_was_heard_or_never_ends_is_left() {
        assert_eq!(
            read(StatusCode::TOO_MANY_REQUESTS, 5, Some("100-continue")).await,
            0
        );
        assert_eq!(read(StatusCode::ACCEPTED, 5, None).await, 0);
        assert_eq!(read(StatusCode::PAYLOAD_TOO_LARGE, 5, None).await, 0);
    }
}
