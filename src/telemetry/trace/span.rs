//! The record of one operation, and the span that the running task is in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hyper::StatusCode;
use tokio::{sync::mpsc, task_local};

use super::{
    context::{Context, SpanId, TraceId},
    otlp::{self, Code, Kind, Value, attribute},
};
use crate::{clock::since_1970, metrics::Metrics};

task_local! {
    /// The span that the running task is in, where anything is recorded.
    static CURRENT: Span;
}

/// Something that happens, recorded. It is over at [`Span::end`], or when the last handle to it is
/// dropped, as that of a request whose client went away.
#[derive(Clone)]
pub struct Span(Arc<Recording>);

struct Recording {
    context: Context,
    /// When it began, by the clock that never goes back and in nanoseconds since 1970.
    began: Instant,
    start: u64,
    outbox: Arc<Outbox>,
    /// `None` when it is over. Held for moments only.
    record: Mutex<Option<otlp::Span>>,
}

/// The place of a span in its trace.
pub struct Begun {
    pub trace: TraceId,
    /// `None` at the root.
    pub parent: Option<SpanId>,
    /// The parent is in another process.
    pub is_remote: bool,
    /// The notes of other tracing systems.
    pub state: String,
    /// Now, in nanoseconds since 1970: in one process by one look at the clock for each trace, so
    /// that nothing ends before it begins.
    pub now: u64,
}

/// The receiver of finished spans.
pub struct Outbox {
    queue: mpsc::Sender<otlp::Span>,
    metrics: Arc<Metrics>,
}

impl Outbox {
    pub fn new(queue: mpsc::Sender<otlp::Span>, metrics: Arc<Metrics>) -> Self {
        Outbox { queue, metrics }
    }

    /// Never waits: a span that finds no room is dropped and counted.
    fn put(&self, span: otlp::Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans_dropped("no_room", 1);
        }
    }
}

impl Begun {
    pub fn root(trace: TraceId) -> Self {
        Begun {
            trace,
            parent: None,
            is_remote: false,
            state: String::new(),
            now: now(),
        }
    }
}

impl Span {
    /// Begins now; `None` if the system has no randomness for an id.
    #[must_use]
    pub fn begin(outbox: &Arc<Outbox>, begun: Begun, name: &str, kind: Kind) -> Option<Self> {
        let context = Context {
            trace: begun.trace,
            span: SpanId::random()?,
            sampled: true,
        };
        let is_remote = if begun.is_remote { otlp::IS_REMOTE } else { 0 };
        let record = otlp::Span {
            trace_id: context.trace.0.to_vec(),
            id: context.span.0.to_vec(),
            trace_state: begun.state,
            parent_span_id: begun.parent.map(|id| id.0.to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: begun.now,
            flags: u32::from(context.sampled)
                | begun.parent.map_or(0, |_| otlp::HAS_IS_REMOTE | is_remote),
            ..otlp::Span::default()
        };
        Some(Span(Arc::new(Recording {
            context,
            began: Instant::now(),
            start: begun.now,
            outbox: Arc::clone(outbox),
            record: Mutex::new(Some(record)),
        })))
    }

    /// Begins a step of this one.
    #[must_use]
    pub fn child(&self, name: &str, kind: Kind) -> Option<Span> {
        let state = self.0.record().as_ref().map(|own| own.trace_state.clone());
        let begun = Begun {
            trace: self.0.context.trace,
            parent: Some(self.0.context.span),
            is_remote: false,
            state: state.unwrap_or_default(),
            now: self.0.now(),
        };
        Span::begin(&self.0.outbox, begun, name, kind)
    }

    #[must_use]
    pub fn context(&self) -> Context {
        self.0.context
    }

    /// Adds an attribute. Each is set once.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut *self.0.record() {
            record.attributes.push(attribute(key, value));
        }
    }

    /// Sets the template of the path that was asked for, which is also the name after the method.
    pub fn route(&self, template: &str) {
        if let Some(record) = &mut *self.0.record() {
            record.name = format!("{} {template}", record.name);
            record.attributes.push(attribute("http.route", template));
        }
    }

    /// Adds an event.
    pub fn event(&self, name: &'static str, key: &'static str, value: impl Into<Value>) {
        let time_unix_nano = self.0.now();
        if let Some(record) = &mut *self.0.record() {
            record.events.push(otlp::Event {
                time_unix_nano,
                name: name.to_owned(),
                attributes: vec![attribute(key, value)],
            });
        }
    }

    /// Links a span of another trace that led to this one.
    pub fn link(&self, to: Context) {
        if let Some(record) = &mut *self.0.record() {
            record.links.push(otlp::Link {
                trace_id: to.trace.0.to_vec(),
                span_id: to.span.0.to_vec(),
            });
        }
    }

    /// Notes the answer. What a client did wrong is no error of the server that says so.
    pub fn answered(&self, status: StatusCode) {
        let is_call = self.is_of(Kind::Client);
        self.set("http.response.status_code", status.as_u16());
        if status.is_server_error() || (is_call && status.is_client_error()) {
            self.fail(status.as_str());
        }
    }

    fn is_of(&self, kind: Kind) -> bool {
        let record = self.0.record();
        record
            .as_ref()
            .is_some_and(|own| own.kind == i32::from(kind))
    }

    /// Notes that it failed; `kind` is the error's own word for how.
    pub fn fail(&self, kind: &str) {
        self.set("error.type", kind);
        if let Some(record) = &mut *self.0.record() {
            let code = Code::Error.into();
            record.status = Some(otlp::Status { code });
        }
    }

    /// Ends the span, even if other handles are left.
    pub fn end(&self) {
        self.0.end();
    }

    /// Runs this future as a step of the span.
    pub fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), future)
    }
}

impl Recording {
    fn record(&self) -> MutexGuard<'_, Option<otlp::Span>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let gone = u64::try_from(self.began.elapsed().as_nanos());
        self.start.saturating_add(gone.unwrap_or(u64::MAX))
    }

    fn end(&self) {
        let over = self.record().take();
        if let Some(mut span) = over {
            span.end_time_unix_nano = self.now();
            self.outbox.put(span);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}

/// Begins a step of the span that the running task is in, if it is in one.
#[must_use]
pub fn step(name: &'static str, kind: Kind) -> Option<Span> {
    CURRENT.try_with(|span| span.child(name, kind)).ok()?
}

/// Tells something of the span that the running task is in, if it is in one.
pub fn note(tell: impl FnOnce(&Span)) {
    // Outside of a span nothing is recorded.
    let _ = CURRENT.try_with(tell);
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}
