//! How a metric gets its handle: registered once in a recorder of our own, then kept, so that
//! counting costs an atomic add and two servers in one process have numbers of their own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{Kind, MetricDoc};

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A handle of the `metrics` crate.
pub trait Handle: Clone {
    const KIND: Kind;

    fn describe(recorder: &PrometheusRecorder, doc: &MetricDoc);

    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self;
}

/// Ties each handle type to the recorder's methods for it.
macro_rules! handle {
    ($handle:ident, $describe:ident, $register:ident) => {
        impl Handle for $handle {
            const KIND: Kind = Kind::$handle;

            fn describe(recorder: &PrometheusRecorder, doc: &MetricDoc) {
                recorder.$describe(KeyName::from(doc.name), None, doc.help.trim().into());
            }

            fn register(recorder: &PrometheusRecorder, key: &Key) -> Self {
                recorder.$register(key, &METADATA)
            }
        }
    };
}

handle!(Counter, describe_counter, register_counter);
handle!(Gauge, describe_gauge, register_gauge);
handle!(Histogram, describe_histogram, register_histogram);

/// What a field of [`super::Metrics`] can be: a lone handle or a family of them.
pub trait Metric {
    const KIND: Kind;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self;
}

impl<H: Handle> Metric for H {
    const KIND: Kind = H::KIND;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self {
        H::describe(recorder, doc);
        H::register(recorder, &Key::from_static_name(doc.name))
    }
}

/// One metric told apart by `N` labels. Label values are `&'static str`, so their number is bounded
/// by the program's text whatever clients send.
pub struct Labelled<H, const N: usize = 1> {
    doc: &'static MetricDoc,
    recorder: Arc<PrometheusRecorder>,
    /// Handles made so far; written once for each new set of values.
    made: RwLock<HashMap<[&'static str; N], H>>,
}

impl<H: Handle, const N: usize> Labelled<H, N> {
    /// The handle for these label values, in the order the metric declares its labels.
    pub fn with(&self, values: [&'static str; N]) -> H {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = made.get(&values) {
            return handle.clone();
        }
        drop(made);
        let labels = self.doc.labels.iter().zip(values);
        let labels: Vec<Label> = labels
            .map(|(label, value)| Label::from_static_parts(label, value))
            .collect();
        let handle = H::register(&self.recorder, &Key::from_parts(self.doc.name, labels));
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        made.entry(values).or_insert(handle).clone()
    }
}

impl<H: Handle, const N: usize> Metric for Labelled<H, N> {
    const KIND: Kind = H::KIND;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self {
        H::describe(recorder, doc);
        Self {
            doc,
            recorder: Arc::clone(recorder),
            made: RwLock::default(),
        }
    }
}

/// Raises a gauge for as long as it lives.
#[must_use = "dropping it lowers the gauge at once"]
pub struct Held(Gauge);

impl Held {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
