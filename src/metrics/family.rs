//! Handles of metrics: registered once in a recorder of our own, then kept, so that
//! counting costs an atomic add and two servers in one process have numbers of their own.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{FamilyKind, MetricDoc, word::Word};

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A handle of the `metrics` crate.
pub trait Handle: Clone {
    const KIND: FamilyKind;

    fn describe(recorder: &PrometheusRecorder, doc: &MetricDoc);

    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self;
}

/// Ties each handle type to the recorder's methods for it.
macro_rules! handle {
    ($handle:ident, $describe:ident, $register:ident) => {
        impl Handle for $handle {
            const KIND: FamilyKind = FamilyKind::$handle;

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

/// A field of [`super::Metrics`]: a lone handle or a family of them.
pub trait Metric {
    const KIND: FamilyKind;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self;
}

impl<H: Handle> Metric for H {
    const KIND: FamilyKind = H::KIND;

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
    /// Returns the handle for these label values, in the order the metric declares its labels.
    pub fn with(&self, values: [&'static str; N]) -> H {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = made.get(&values) {
            return handle.clone();
        }
        drop(made);
        let handle = H::register(&self.recorder, &key(self.doc, &values));
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        made.entry(values).or_insert(handle).clone()
    }
}

impl<H: Handle, const N: usize> Metric for Labelled<H, N> {
    const KIND: FamilyKind = H::KIND;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self {
        H::describe(recorder, doc);
        // Those that show 0 from the start. They are met again under the same key.
        for values in doc.values {
            H::register(recorder, &key(doc, values));
        }
        Self {
            doc,
            recorder: Arc::clone(recorder),
            made: RwLock::default(),
        }
    }
}

/// Names that have series of their own in one metric, and bytes of each.
const NAMES: usize = 50;
const NAME_BYTES: usize = 200;

/// The label of all other names.
const OTHER: &str = "other";

/// One metric told apart by a name that is not of the program's text, and by `N` labels that are.
/// The first [`NAMES`] names have series of their own, the others share one.
pub struct Named<H, const N: usize = 0> {
    doc: &'static MetricDoc,
    recorder: Arc<PrometheusRecorder>,
    made: RwLock<HashMap<String, HashMap<[&'static str; N], H>>>,
}

impl<H: Handle, const N: usize> Named<H, N> {
    /// Returns the handle for this name and these label values.
    pub fn with(&self, name: &str, values: [&'static str; N]) -> H {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        let name = Self::shown(&made, name);
        if let Some(handle) = made.get(name).and_then(|of| of.get(&values)) {
            return handle.clone();
        }
        drop(made);
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        let name = Self::shown(&made, name);
        let (first, others) = self.doc.labels.split_first().unwrap_or((&"name", &[]));
        let mut labels = vec![Label::new(*first, name.to_owned())];
        labels.extend(labels_of(others, &values));
        let key = Key::from_parts(self.doc.name, labels);
        let of = made.entry(name.to_owned()).or_default();
        let handle = of
            .entry(values)
            .or_insert_with(|| H::register(&self.recorder, &key));
        handle.clone()
    }

    /// Returns the name of the series for a name.
    fn shown<'a, T>(made: &HashMap<String, T>, name: &'a str) -> &'a str {
        let has_room = made.len() - usize::from(made.contains_key(OTHER)) < NAMES;
        let is_fit = !name.is_empty() && name.len() <= NAME_BYTES;
        if made.contains_key(name) || is_fit && has_room {
            name
        } else {
            OTHER
        }
    }
}

impl<H: Handle, const N: usize> Metric for Named<H, N> {
    const KIND: FamilyKind = H::KIND;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self {
        H::describe(recorder, doc);
        for values in doc.values {
            H::register(recorder, &key(doc, values));
        }
        Self {
            doc,
            recorder: Arc::clone(recorder),
            made: RwLock::default(),
        }
    }
}

/// One metric told apart by a label whose values are all known. A handle for each is made at the
/// start: it shows 0 before anything has happened, and nothing is looked up to find it.
pub struct Each<H, W> {
    /// In the order of [`Word::ALL`].
    handles: Vec<H>,
    words: PhantomData<fn(W)>,
}

impl<H, W: Word> Each<H, W> {
    /// Returns the handle for this value.
    pub fn of(&self, word: W) -> &H {
        &self.handles[word.place()]
    }
}

impl<H: Handle, W: Word> Metric for Each<H, W> {
    const KIND: FamilyKind = H::KIND;

    fn new(recorder: &Arc<PrometheusRecorder>, doc: &'static MetricDoc) -> Self {
        H::describe(recorder, doc);
        let words = W::ALL.iter();
        Self {
            handles: words
                .map(|word| H::register(recorder, &key(doc, &[word.text()])))
                .collect(),
            words: PhantomData,
        }
    }
}

/// Returns the name of one series.
fn key(doc: &MetricDoc, values: &[&'static str]) -> Key {
    let labels: Vec<Label> = labels_of(doc.labels, values).collect();
    Key::from_parts(doc.name, labels)
}

fn labels_of(
    names: &'static [&'static str],
    values: &[&'static str],
) -> impl Iterator<Item = Label> {
    let labels = names.iter().zip(values);
    labels.map(|(name, value)| Label::from_static_parts(name, value))
}

/// Raises a gauge for as long as it lives.
#[must_use = "dropping it lowers the gauge at once"]
#[derive(Debug)]
pub struct HeldGauge(Gauge);

impl HeldGauge {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for HeldGauge {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
