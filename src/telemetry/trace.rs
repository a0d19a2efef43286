//! Traces for OpenTelemetry: one span for each request, each socket's handshake and each frame that
//! asks for something, with the commit, the send to the layer and the call of Django as children.
//! Off without `trace.endpoint`, and then nothing of this is there: no task, no connection.
//!
//! - [`context`] is the `traceparent` header,
//! - [`span`] what is recorded, and which span the running task is in,
//! - [`exporter`] the queue and the task that empties it, [`collector`] the connection,
//! - [`otlp`] the messages.
//!
//! OpenTelemetry's own SDK is not used. What is asked of an exporter here is not its way: drops
//! that are counted among our metrics, one warning for an outage, an end within the drain, and two
//! servers in one process with nothing global. What would be left of it are the messages, which the
//! same crate makes here, and one POST. A `tracing` span for each would also be part of every line
//! of the log.

mod collector;
mod context;
mod exporter;
mod otlp;
mod span;

use std::{sync::Arc, time::Duration};

use hyper::{HeaderMap, Request};
use tokio::sync::Mutex;

pub use self::{
    collector::EndpointError,
    context::Context,
    otlp::Kind,
    span::{Span, note, step},
};
use self::{
    context::{SpanId, TRACEPARENT, TRACESTATE, TraceId},
    exporter::{Exporter, Running},
    span::{Begun, Outbox},
};
use crate::{
    config::{self, trace::Sampler},
    metrics::Metrics,
};

/// Asked every few seconds by machines: they would drown what people ask.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Most characters of a path in a span: its length is the client's choice.
const PATH_MAX: usize = 256;

/// Decides what is traced, and begins it. One for each server.
pub struct Tracer {
    sampler: Sampler,
    /// Of all traces, from 0 to 1.
    share: f64,
    outbox: Arc<Outbox>,
    /// Taken by [`Tracer::close`].
    exporter: Mutex<Option<Running>>,
}

/// Trace that a request is part of, recorded or not.
#[derive(Clone)]
pub struct Trace {
    /// Context that goes to servers asked on its behalf.
    context: Context,
    /// True if the caller records the trace, if it has said.
    caller: Option<bool>,
    /// The notes of other tracing systems came with a context they belong to.
    has_parent: bool,
    /// `None` if it is not recorded.
    span: Option<Span>,
}

/// The handshake that frames of a socket belong to.
#[derive(Clone, Copy, Debug)]
pub struct TraceOrigin {
    /// Of its span, if that is recorded.
    context: Option<Context>,
    caller: Option<bool>,
}

impl Tracer {
    /// Returns the tracer of these settings, if they name a collector. Opens no connection yet.
    ///
    /// # Errors
    /// When it is not known whom to believe that they are the collector.
    pub fn open(
        settings: &config::Trace,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, EndpointError> {
        let Some(exporter) = Exporter::of(settings, metrics)? else {
            return Ok(None);
        };
        let (queue, running) = exporter.start(settings.queue_spans);
        Ok(Some(Tracer {
            sampler: settings.sampler,
            share: settings.sampler_arg.get(),
            outbox: Arc::new(Outbox::new(queue, Arc::clone(metrics))),
            exporter: Mutex::new(Some(running)),
        }))
    }

    /// Returns the trace of a request, whose span begins now. None for a probe.
    pub fn request<B>(&self, request: &Request<B>, scheme: &'static str) -> Option<Trace> {
        let path = request.uri().path();
        if PROBES.contains(&path) {
            return None;
        }
        let parent = Context::of(request.headers());
        let caller = parent.map(|parent| parent.sampled);
        let trace = parent.map_or_else(TraceId::random, |parent| Some(parent.trace))?;
        let span = if self.samples(trace, caller) {
            let begun = Begun {
                trace,
                parent: parent.map(|parent| parent.span),
                is_remote: true,
                now: span::now(),
                state: parent.map_or_else(String::new, |_| context::state(request.headers())),
            };
            let method = method(request.method().as_str());
            let span = Span::begin(&self.outbox, begun, method, Kind::Server)?;
            span.set("http.request.method", method);
            span.set("url.path", shortened(path));
            span.set("url.scheme", scheme);
            Some(span)
        } else {
            None
        };
        let context = match &span {
            Some(span) => span.context(),
            None => Context {
                trace,
                span: parent.map_or_else(SpanId::random, |parent| Some(parent.span))?,
                sampled: false,
            },
        };
        Some(Trace {
            context,
            caller,
            has_parent: parent.is_some(),
            span,
        })
    }

    /// Returns the span of a frame that asks for something: the root of a trace of its own, as a
    /// socket may be open for a day, with a link to the handshake. If the handshake came with a
    /// `traceparent`, that decides for the frames too.
    pub fn frame(&self, origin: Option<&TraceOrigin>, asked: &'static str) -> Option<Span> {
        let trace = TraceId::random()?;
        if !self.samples(trace, origin.and_then(|origin| origin.caller)) {
            return None;
        }
        let span = Span::begin(&self.outbox, Begun::root(trace), asked, Kind::Server)?;
        if let Some(handshake) = origin.and_then(|origin| origin.context) {
            span.link(handshake);
        }
        Some(span)
    }

    fn samples(&self, trace: TraceId, caller: Option<bool>) -> bool {
        let share = || self.share >= 1.0 || trace.place() < self.share;
        match self.sampler {
            Sampler::AlwaysOn => true,
            Sampler::AlwaysOff => false,
            Sampler::Ratio => share(),
            Sampler::ParentOrOn => caller.unwrap_or(true),
            Sampler::ParentOrOff => caller.unwrap_or(false),
            Sampler::ParentOrRatio => caller.unwrap_or_else(share),
        }
    }

    /// Sends what is queued, for no longer than this; what is begun later is dropped.
    pub async fn close(&self, patience: Duration) {
        if let Some(running) = self.exporter.lock().await.take() {
            running.finish(patience).await;
        }
    }
}

impl Trace {
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// `None` if it is not recorded.
    #[must_use]
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// For the frames of the socket that it opens.
    #[must_use]
    pub fn origin(&self) -> TraceOrigin {
        TraceOrigin {
            context: self.span.as_ref().map(Span::context),
            caller: self.caller,
        }
    }

    /// Adds the trace that a call is part of to its headers. The span of the call, if
    /// it is recorded, is the parent that they name.
    pub fn pass_on(&self, method: &str, headers: &mut HeaderMap) -> Option<Span> {
        let call = self.span.as_ref().and_then(|span| {
            let call = span.child(self::method(method), Kind::Client)?;
            call.set("http.request.method", self::method(method));
            Some(call)
        });
        let context = call.as_ref().map_or(self.context, Span::context);
        headers.insert(TRACEPARENT, context.header());
        if !self.has_parent {
            headers.remove(TRACESTATE);
        }
        call
    }
}

/// Returns the known methods; what a client makes up is `_OTHER`, as OpenTelemetry wants it.
fn method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ];
    let known = KNOWN.iter().find(|known| **known == method);
    known.copied().unwrap_or("_OTHER")
}

fn shortened(path: &str) -> &str {
    let end = path.char_indices().nth(PATH_MAX);
    end.map_or(path, |(end, _)| &path[..end])
}
