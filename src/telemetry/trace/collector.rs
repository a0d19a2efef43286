//! The connection to the collector: one, kept, by HTTP/1.1, plain or by TLS. Redirections are not
//! followed.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use prost::Message as _;
use rustls::pki_types::{InvalidDnsNameError, pem};
use tokio::time::timeout;

use super::otlp::{ExportResponse, PartialSuccess};
use crate::{
    net::client::{self, ClientConnection, TlsName},
    tls::{Authorities, Trust, client_config},
};

/// Longest that all of one request may take, as with OpenTelemetry's own exporters.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer, which has a number and a sentence.
const ANSWER_MAX: usize = 64 * 1024;

type ExportSender = ClientConnection<Full<Bytes>>;

/// Why it is not known how to reach the collector.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("trace.endpoint: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("trace.endpoint_ca {file}: {error}")]
    File { file: String, error: pem::Error },
    #[error("trace.endpoint has TLS, and there is no authority to believe: set trace.endpoint_ca")]
    Nobody,
    #[error("trace.endpoint: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ExportFailure {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the address cannot be asked: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the answer is {status}")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

impl ExportFailure {
    /// Returns whether the same spans may be taken later (OTLP specification, "Failures").
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            ExportFailure::Connect(_) | ExportFailure::Broken(_) | ExportFailure::Late => true,
            ExportFailure::Request(_) => false,
            ExportFailure::Status { status, .. } => {
                matches!(status.as_u16(), 429 | 502 | 503 | 504)
            }
        }
    }

    /// Returns the pause that the collector asks for, if any.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ExportFailure::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The way to one collector.
pub struct Collector {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Option<TlsName>,
    /// Connection of the last request, if it succeeded.
    open: Option<ExportSender>,
}

impl Collector {
    /// Opens no connection yet. `authorities` is a PEM file in place of the system's.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn new(
        uri: Uri,
        authorities: Option<&Path>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Self, EndpointError> {
        let tls = if client::is_tls(&uri) {
            Some(tls_to(&uri, authorities)?)
        } else {
            None
        };
        Ok(Collector {
            uri,
            headers,
            tls,
            open: None,
        })
    }

    /// Sends spans; how many of them the collector does not want. May be cancelled.
    ///
    /// # Errors
    /// See [`ExportFailure`].
    pub async fn post(&mut self, spans: Bytes) -> Result<usize, ExportFailure> {
        let kept = self.open.take();
        timeout(PATIENCE, self.ask(kept, spans))
            .await
            .unwrap_or(Err(ExportFailure::Late))
    }

    async fn ask(
        &mut self,
        kept: Option<ExportSender>,
        spans: Bytes,
    ) -> Result<usize, ExportFailure> {
        if let Some(mut kept) = kept
            && kept.is_ready().await
            && let Ok(response) = kept.send(self.request(spans.clone())?).await
        {
            return self.answered(response, kept).await;
        }
        // There was none, or it had been closed meanwhile.
        let mut fresh = ClientConnection::open(&self.uri, self.tls.as_ref()).await?;
        let response = fresh.send(self.request(spans)?).await?;
        self.answered(response, fresh).await
    }

    fn request(&self, spans: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = client::request(Method::POST, &self.uri)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(spans))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn answered(
        &mut self,
        response: Response<Incoming>,
        sender: ExportSender,
    ) -> Result<usize, ExportFailure> {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let seconds = head.headers.get(RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(ExportFailure::Status {
                status: head.status,
                retry_after: seconds.map(Duration::from_secs),
            });
        }
        // A collector that answers 200 with nonsense has taken them all the same.
        let Some(body) = client::whole(body, ANSWER_MAX).await else {
            return Ok(0);
        };
        self.open = Some(sender);
        Ok(rejected(&body))
    }
}

fn tls_to(uri: &Uri, file: Option<&Path>) -> Result<TlsName, EndpointError> {
    let authorities = Authorities::read(file).map_err(|error| EndpointError::File {
        file: file.map_or_else(String::new, |file| file.display().to_string()),
        error,
    })?;
    if authorities.is_empty() {
        return Err(EndpointError::Nobody);
    }
    let config = client_config(Trust::Name(authorities), None)?;
    Ok(TlsName::new(uri.host().unwrap_or_default(), config)?)
}

/// Returns the number of spans that an answer rejects.
fn rejected(answer: &[u8]) -> usize {
    let Some(PartialSuccess {
        rejected_spans,
        error_message,
    }) = ExportResponse::decode(answer)
        .unwrap_or_default()
        .partial_success
    else {
        return 0;
    };
    if rejected_spans > 0 || !error_message.is_empty() {
        tracing::warn!(
            rejected_spans,
            error_message,
            "the collector of the traces complains"
        );
    }
    usize::try_from(rejected_spans).unwrap_or_default()
}
