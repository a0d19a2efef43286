//! What was said and what was heard of it: every message by everybody, and by nobody twice.

use std::time::Instant;

use serde_json::{Value, json};

use super::wire;

/// Numbers that have been seen.
#[derive(Clone, Default)]
pub struct Seen {
    bits: Vec<u64>,
    pub count: usize,
    pub twice: usize,
}

impl Seen {
    pub fn note(&mut self, number: usize) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.count += 1;
        } else {
            self.twice += 1;
        }
    }
}

/// A message that was said.
pub struct Said {
    /// When it was said, or should have been.
    pub at: Instant,
    /// The socket that said it.
    pub by: usize,
}

/// What the store has of a conversation: how many of what was said are missing, and how many are
/// there more than once.
pub fn stored(body: &[u8], said: usize) -> (usize, usize) {
    let mut seen = Seen::default();
    wire::numbers(body).for_each(|number| seen.note(number));
    (said.saturating_sub(seen.count), seen.twice)
}

/// Median, 99th percentile and maximum, in milliseconds; nothing of nothing.
pub fn latencies(mut seconds: Vec<f64>) -> Value {
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (seconds.len() * percent / 100).min(seconds.len().saturating_sub(1));
        seconds.get(place).map(|seconds| seconds * 1e3)
    };
    json!({"p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100)})
}
