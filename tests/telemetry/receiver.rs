//! A collector inside of the test: takes traces over OTLP, by gRPC and by HTTP on one port, and keeps every span.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use prost::Message as _;
use redline_tests::until;

/// How long a span may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    /// 2 is a server's, 3 a client's, 4 a producer's, 5 a consumer's.
    pub(crate) kind: i32,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for the first of a trace.
    pub(crate) parent_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span of each link.
    pub(crate) links: Vec<(String, String)>,
    /// Attributes of the process.
    pub(crate) resource: BTreeMap<String, String>,
    /// Everything that arrived about it, as text.
    pub(crate) everything: String,
}

impl Span {
    /// `traceparent` of this span.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Arrived {
    spans: Vec<Span>,
    /// Values of the header `authorization` of each export.
    authorizations: Vec<String>,
}

/// The collector; it ends with the test.
pub(crate) struct Receiver {
    address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Taking(Arc<Mutex<Arrived>>);

impl Taking {
    fn take(&self, request: ExportTraceServiceRequest, authorization: Option<&str>) {
        let mut arrived = self.0.lock().expect("no test panicked here");
        arrived.authorizations.extend(authorization.map(str::to_owned));
        for of_process in request.resource_spans {
            let resource = of_process.resource.unwrap_or_default();
            let attributes = texts(&resource.attributes);
            for sent in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let everything = format!("{resource:?} {sent:?}");
                arrived.spans.push(read(sent, attributes.clone(), everything));
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Taking {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let authorization = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        self.take(request.into_inner(), authorization.as_deref());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn over_http(State(taking): State<Taking>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    assert_eq!(content_type, Some("application/x-protobuf"));
    let request = ExportTraceServiceRequest::decode(body).expect("an export is what OTLP says");
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    taking.take(request, authorization);
    (
        StatusCode::OK,
        ExportTraceServiceResponse::default().encode_to_vec(),
    )
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let arrived = Arc::default();
        let taking = Taking(Arc::clone(&arrived));
        let router = Router::new()
            .route("/v1/traces", post(over_http))
            .with_state(taking.clone())
            .route_service(
                "/opentelemetry.proto.collector.trace.v1.TraceService/{*method}",
                TraceServiceServer::new(taking),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the collector serves");
        });
        Self {
            address,
            arrived,
            serving,
        }
    }

    /// Its address, `http://host:port`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.arrived.lock().expect("no test panicked here").spans.clone()
    }

    /// Values of the header `authorization` so far.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.arrived
            .lock()
            .expect("no test panicked here")
            .authorizations
            .clone()
    }

    /// Waits for a span.
    pub(crate) async fn wait(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        until(&format!("{what} arrives"), PATIENCE, async || {
            let spans = self.spans();
            spans.iter().find(|span| wanted(span)).cloned().ok_or_else(|| {
                let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
                format!("what arrived is {names:?}")
            })
        })
        .await
    }
}

fn read(sent: Sent, resource: BTreeMap<String, String>, everything: String) -> Span {
    Span {
        name: sent.name,
        kind: sent.kind,
        trace_id: hex(&sent.trace_id),
        span_id: hex(&sent.span_id),
        parent_id: hex(&sent.parent_span_id),
        attributes: texts(&sent.attributes),
        links: sent
            .links
            .iter()
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        resource,
        everything,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        any_value::Value::BoolValue(is) => Some(is.to_string()),
        other => Some(format!("{other:?}")),
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), text(attribute).unwrap_or_default()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
