//! The one script of the core layer: sweep, count, add and renew, for everything that goes to the
//! queues of a host at once and indivisibly.
//!
//! It does what `RedisChannelLayer` does in a transaction and a script of its own, but on the
//! right host, with the count and the addition in one step so that a queue never passes its
//! capacity, and for many messages at a time. All its keys are declared.

use std::collections::HashMap;

use redis::{Cmd, Value, cmd};

/// `KEYS`: the queues. `ARGV`: the queues' life in seconds, the score up to which entries have
/// expired, then for each entry the place of its queue, its score, the queue's capacity, its
/// bytes. Returns how many entries were swept, then the places of the entries that found their
/// queue full.
const TEXT: &str = "\
local count, swept = {}, 0
for i, key in ipairs(KEYS) do
  swept = swept + redis.call('ZREMRANGEBYSCORE', key, 0, ARGV[2])
  count[i] = redis.call('ZCARD', key)
end
local out, added = {swept}, {}
for at = 3, #ARGV, 4 do
  local i = tonumber(ARGV[at])
  if count[i] < tonumber(ARGV[at + 2]) then
    count[i] = count[i] + redis.call('ZADD', KEYS[i], ARGV[at + 1], ARGV[at + 3])
    added[i] = true
  else
    out[#out + 1] = (at - 3) / 4
  end
end
for i in pairs(added) do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return out";

/// What is sent to one queue.
pub struct Entry<'a> {
    pub key: &'a str,
    /// The sender's clock, Unix seconds.
    pub score: f64,
    pub capacity: usize,
    pub bytes: Vec<u8>,
}

/// How long entries live.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Unix seconds.
    pub now: u64,
    /// Seconds.
    pub expiry: u64,
}

/// What became of a send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Entries of the target queues that had expired.
    pub swept: usize,
    /// Places of the entries whose queue was full: they were not added.
    pub full: Vec<usize>,
}

/// The command that makes the server remember the script; it answers with the name for [`call`].
#[must_use]
pub fn load() -> Cmd {
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(TEXT);
    load
}

/// The command that runs the script: by its name, or with its text if the server has forgotten it.
#[must_use]
pub fn call(name: Option<&str>, entries: &[Entry<'_>], life: Life) -> Cmd {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut keys = Vec::new();
    for entry in entries {
        places.entry(entry.key).or_insert_with(|| {
            keys.push(entry.key);
            keys.len()
        });
    }
    let mut call = match name {
        Some(name) => cmd("EVALSHA").arg(name).take(),
        None => cmd("EVAL").arg(TEXT).take(),
    };
    call.arg(keys.len()).arg(keys);
    call.arg(life.expiry)
        .arg(life.now.saturating_sub(life.expiry));
    for entry in entries {
        call.arg(places.get(entry.key).copied().unwrap_or_default())
            // The shortest form that reads back as the same double, as Python writes it.
            .arg(entry.score.to_string())
            .arg(entry.capacity)
            .arg(&entry.bytes);
    }
    call
}

/// The script's answer.
#[must_use]
pub fn added(answer: &Value) -> Added {
    let Value::Array(numbers) = answer else {
        return Added::default();
    };
    let number = |value: &Value| match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    let mut numbers = numbers.iter().filter_map(number);
    Added {
        swept: numbers.next().unwrap_or_default(),
        full: numbers.collect(),
    }
}
