//! The queue of spans that are over, and the one task that takes them to the collector. The queue
//! is the bound: while the collector is away one batch is tried again and again, the queue fills,
//! and what finds no room in it is dropped and counted. No request ever waits for this task.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    collector::{Collector, EndpointError, ExportFailure},
    otlp::{self, attribute},
};
use crate::{config, metrics::Metrics};

/// Most spans of one request, and how long the first waits for others: OpenTelemetry's own batch,
/// and a fifth of its delay.
const BATCH_MAX: usize = 512;
const DELAY: Duration = Duration::from_secs(1);

/// Before a batch is tried again; twice as long each time, up to the second. The third is how long
/// a collector may ask to be left alone.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const ASKED_MAX: Duration = Duration::from_secs(60);

/// Task that takes spans to a collector.
pub struct Exporter {
    collector: Collector,
    resource: otlp::Resource,
    metrics: Arc<Metrics>,
}

/// Running task, and the signal that ends it.
pub struct Running {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The task's own side.
struct Task {
    exporter: Exporter,
    queue: mpsc::Receiver<otlp::Span>,
    closing: watch::Receiver<bool>,
    /// True if the collector did not take the last batch, which has been logged.
    is_out: bool,
}

impl Exporter {
    /// Returns the exporter of these settings, if they name a collector.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn of(
        settings: &config::Trace,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, EndpointError> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(None);
        };
        let authorities = settings.endpoint_ca.as_deref();
        let headers = settings.headers.as_ref();
        let headers = headers.map(|headers| headers.expose().to_vec());
        Ok(Some(Exporter {
            collector: Collector::new(
                endpoint.uri().clone(),
                authorities,
                headers.unwrap_or_default(),
            )?,
            resource: resource(settings),
            metrics: Arc::clone(metrics),
        }))
    }

    /// Starts the task, and the queue that it empties.
    pub fn start(self, room: usize) -> (mpsc::Sender<otlp::Span>, Running) {
        let (spans, queue) = mpsc::channel(room);
        let (closing, closes) = watch::channel(false);
        let task = Task {
            exporter: self,
            queue,
            closing: closes,
            is_out: false,
        };
        let task = tokio::spawn(task.run());
        (spans, Running { closing, task })
    }
}

impl Running {
    /// Lets it send what is queued. What is not taken within `patience` is lost, and that is
    /// logged.
    pub async fn finish(mut self, patience: Duration) {
        self.closing.send_replace(true);
        if timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector of the traces did not take the last spans in time");
        }
    }
}

impl Task {
    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            self.deliver(batch).await;
        }
    }

    /// Takes the next spans; none when there will be no more.
    async fn gather(&mut self) -> Vec<otlp::Span> {
        let mut batch = Vec::new();
        let mut due = None;
        while batch.len() < BATCH_MAX {
            let is_closing = self.is_closing();
            if is_closing {
                self.queue.close();
            }
            let room = BATCH_MAX - batch.len();
            let late = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = self.queue.recv_many(&mut batch, room) => {
                    if taken == 0 {
                        break;
                    }
                    due = due.or(Some(Instant::now() + DELAY));
                }
                () = late => break,
                () = closed(&mut self.closing), if !is_closing => {}
            }
        }
        batch
    }

    /// Has the collector take a batch, however often it takes. At the end of the process each is
    /// tried once.
    async fn deliver(&mut self, spans: Vec<otlp::Span>) {
        let count = spans.len();
        let body = self.exporter.encoded(spans);
        let mut pause = PAUSE;
        loop {
            let failure = match self.exporter.collector.post(body.clone()).await {
                Ok(rejected) => return self.delivered(count, rejected),
                Err(failure) => failure,
            };
            self.tell(&failure);
            if !failure.may_pass() || self.is_closing() {
                self.exporter.metrics.spans_dropped("refused", count);
                return;
            }
            let again = failure
                .retry_after()
                .map_or(pause, |asked| asked.clamp(PAUSE, ASKED_MAX));
            tokio::select! {
                () = sleep(again) => {}
                () = closed(&mut self.closing) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn delivered(&mut self, count: usize, rejected: usize) {
        let rejected = rejected.min(count);
        self.exporter.metrics.spans_exported(count - rejected);
        if rejected > 0 {
            self.exporter.metrics.spans_dropped("refused", rejected);
        }
        if std::mem::take(&mut self.is_out) {
            tracing::info!("the collector of the traces takes spans again");
        }
    }

    /// Once for each outage.
    fn tell(&mut self, failure: &ExportFailure) {
        if !std::mem::replace(&mut self.is_out, true) {
            tracing::warn!(%failure, "the collector of the traces does not take spans");
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.closing.has_changed().is_err()
    }
}

impl Exporter {
    fn encoded(&self, spans: Vec<otlp::Span>) -> Bytes {
        let scope = otlp::Scope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let request = otlp::ExportRequest {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![otlp::ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        };
        request.encode_to_vec().into()
    }
}

/// Waits for the end to be asked for, or for the server to go away without asking.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Returns the attributes of this process, the operator's own first.
fn resource(settings: &config::Trace) -> otlp::Resource {
    let given = settings.resource_attributes.iter();
    let mut attributes: Vec<_> = given
        .filter(|(key, _)| settings.service_name.is_none() || *key != "service.name")
        .map(|(key, value)| attribute(key, value))
        .collect();
    let ours = [
        (
            "service.name",
            settings.service_name.as_deref().unwrap_or("chatferry"),
        ),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.name", "chatferry"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    for (key, value) in ours {
        if attributes.iter().all(|given| given.key != key) {
            attributes.push(attribute(key, value));
        }
    }
    otlp::Resource { attributes }
}
