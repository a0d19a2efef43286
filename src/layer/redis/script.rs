//! The scripts of both layers.
//!
//! **The core layer's**: sweep, count, add and renew, for everything that goes to the queues of a
//! host at once and indivisibly; and with it the question whether groups still have the members the
//! sender believes they have. **The pub/sub layer's**: publish.
//!
//! Both note in Redis, in the same step, the number of the sending task's call ([`Once`]), and do
//! nothing if that call has been executed before: one whose answer was lost is repeated, and one
//! whose bytes were held up somewhere comes too late to do harm. The note is a key of
//! [`NOTE_LIFE`] seconds for each sending task, and is written only by a call that adds something.
//!
//! The core layer's does what `RedisChannelLayer` does in a transaction and a script of its own,
//! but on the right host, with the count and the addition in one step so that a queue never passes
//! its capacity, and for many messages at a time. All its keys are declared.

use std::collections::HashMap;

use redis::{Cmd, Value, cmd};

use crate::layer::LayerError;

/// Seconds that the note of the last call is kept: longer than a call waits to be repeated.
pub const NOTE_LIFE: u64 = 900;

/// `KEYS`: groups, queues, and the note of the last call if there is one. `ARGV`: the number of
/// groups, the score up to which memberships have expired, the queues' life in seconds, the score
/// up to which entries have expired, the number of this call (empty without a note) and the life of
/// its note in seconds; for each group the digest of its members; for each entry the place of its
/// group (0 if that does not matter) and of its queue in `KEYS`, its score, the queue's capacity,
/// its bytes.
///
/// An entry is not added if its group has other members now. Returns how many entries were swept,
/// the places of the entries that found their queue full, and of each group that has changed its
/// place, its digest, and its members or why they could not be read; or, if the call was executed
/// before, -1 and the places of the groups that had changed then.
const TEXT: &str = "\
local groups, count, swept = tonumber(ARGV[1]), {}, 0
local stale, changed, places, last = {}, {}, {}, #KEYS
if ARGV[5] ~= '' then
  local note = redis.call('GET', KEYS[last])
  if note then
    local number, skipped = string.match(note, '^(%d+) (.*)$')
    if number and tonumber(number) >= tonumber(ARGV[5]) then return {-1, skipped} end
  end
  last = last - 1
end
for i = 1, groups do
  redis.pcall('ZREMRANGEBYSCORE', KEYS[i], 0, ARGV[2])
  local members = redis.pcall('ZRANGE', KEYS[i], 0, -1)
  local digest = ''
  if not members.err then digest = redis.sha1hex(table.concat(members, '\\n')) end
  if members.err or digest ~= ARGV[6 + i] then
    stale[i] = true
    places[#places + 1] = i - 1
    changed[#changed + 1] = {i - 1, digest, members.err or members}
  end
end
for i = groups + 1, last do
  swept = swept + redis.call('ZREMRANGEBYSCORE', KEYS[i], 0, ARGV[4])
  count[i] = redis.call('ZCARD', KEYS[i])
end
local first, full, added = 7 + groups, {}, {}
for at = first, #ARGV, 5 do
  local i = tonumber(ARGV[at + 1])
  if not stale[tonumber(ARGV[at])] then
    if count[i] < tonumber(ARGV[at + 3]) then
      count[i] = count[i] + redis.call('ZADD', KEYS[i], ARGV[at + 2], ARGV[at + 4])
      added[i] = true
    else
      full[#full + 1] = (at - first) / 5
    end
  end
end
for i in pairs(added) do
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
if next(added) and ARGV[5] ~= '' then
  redis.call('SET', KEYS[last + 1], ARGV[5] .. ' ' .. table.concat(places, ' '), 'EX', ARGV[6])
end
return {swept, full, changed}";

/// `KEYS`: the note of the last call. `ARGV`: the number of this call, the life of its note in
/// seconds, something if there must be a note, then channel and bytes of each message. Returns for
/// each message how many heard it; nothing if the call was executed before, and -1 if that is not
/// known: the note is gone.
///
/// The note is written first: a replica, whose subscribers are not everybody, refuses it. A server
/// without memory for it publishes all the same, and removes the note of the call before: it would
/// say of this call, if it is repeated, that it was not executed. The number 0 leaves no note: it is
/// a trial.
const PUBLISH: &str = "\
local note = redis.call('GET', KEYS[1])
if note and tonumber(note) and tonumber(note) >= tonumber(ARGV[1]) then return {} end
if not note and ARGV[3] ~= '' then return -1 end
local noted = {}
if ARGV[1] ~= '0' then noted = redis.pcall('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
if noted.err and string.find(noted.err, 'READONLY') then return noted end
if noted.err then redis.pcall('DEL', KEYS[1]) end
local heard = {}
for i = 4, #ARGV, 2 do
  heard[#heard + 1] = redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
return heard";

/// A call that is executed once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Once {
    /// The key of the sending task's note.
    pub note: String,
    /// Greater than those of the task's calls before.
    pub number: u64,
}

/// A group whose members decide where entries go.
pub struct Group<'a> {
    pub key: String,
    /// Of the members the sender knows of; empty if it knows of none.
    pub digest: &'a str,
}

/// Entry for one queue.
pub struct Entry<'a> {
    /// The place among the groups of the one that must not have changed.
    pub group: Option<usize>,
    pub key: &'a str,
    /// The sender's clock, Unix seconds.
    pub score: f64,
    pub capacity: usize,
    pub bytes: Vec<u8>,
}

/// Lifetimes of keys and entries.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Unix seconds.
    pub now: u64,
    /// Seconds an entry lives.
    pub expiry: u64,
    /// Seconds a membership lives.
    pub group_expiry: u64,
}

/// Outcome of a send.
#[derive(Debug, Default)]
pub struct Added {
    /// Entries of the target queues that had expired.
    pub swept: usize,
    /// Places of the entries whose queue was full: they were not added.
    pub full: Vec<usize>,
    /// The groups that are not what the sender knew: none of their entries was added.
    pub changed: Vec<Changed>,
    /// The call was executed before. These are the places of the groups that had changed then.
    pub before: Option<Vec<usize>>,
}

/// A group as it is.
#[derive(Debug)]
pub struct Changed {
    /// Its place among the groups.
    pub group: usize,
    pub digest: String,
    /// The names of its members by age; as [`LayerError::Refused`] what the server said instead.
    pub members: Result<Vec<Value>, LayerError>,
}

/// Returns the command that makes the server remember the script; it answers with the name for
/// [`call`].
#[must_use]
pub fn load() -> Cmd {
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(TEXT);
    load
}

/// Returns the command that makes the server remember how to publish.
#[must_use]
pub fn load_publish() -> Cmd {
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(PUBLISH);
    load
}

/// Returns the command that publishes messages, each a channel and its bytes. With `must_be_noted`
/// it does nothing if there is no note of an earlier call.
#[must_use]
pub fn publish<'a>(
    name: Option<&str>,
    once: &Once,
    must_be_noted: bool,
    messages: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Cmd {
    let mut call = begin(name, PUBLISH);
    call.arg(1).arg(&once.note);
    call.arg(once.number).arg(NOTE_LIFE);
    call.arg(if must_be_noted { "1" } else { "" });
    for (channel, bytes) in messages {
        call.arg(channel).arg(bytes);
    }
    call
}

fn begin(name: Option<&str>, text: &str) -> Cmd {
    match name {
        Some(name) => cmd("EVALSHA").arg(name).take(),
        None => cmd("EVAL").arg(text).take(),
    }
}

/// Returns the command that runs the script: by its name, or with its text if the server has
/// forgotten it.
#[must_use]
pub fn call(
    name: Option<&str>,
    groups: &[Group<'_>],
    entries: &[Entry<'_>],
    life: Life,
    once: Option<&Once>,
) -> Cmd {
    let mut keys: Vec<&str> = groups.iter().map(|group| group.key.as_str()).collect();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        places.entry(entry.key).or_insert_with(|| {
            keys.push(entry.key);
            keys.len()
        });
    }
    keys.extend(once.map(|once| once.note.as_str()));
    let mut call = begin(name, TEXT);
    call.arg(keys.len()).arg(keys);
    call.arg(groups.len())
        .arg(life.now.saturating_sub(life.group_expiry))
        .arg(life.expiry)
        .arg(life.now.saturating_sub(life.expiry));
    match once {
        Some(once) => call.arg(once.number).arg(NOTE_LIFE),
        None => call.arg("").arg(""),
    };
    for group in groups {
        call.arg(group.digest);
    }
    for entry in entries {
        call.arg(entry.group.map_or(0, |place| place + 1))
            .arg(places.get(entry.key).copied().unwrap_or_default())
            // The shortest form that reads back as the same double, as Python writes it.
            .arg(entry.score.to_string())
            .arg(entry.capacity)
            .arg(&entry.bytes);
    }
    call
}

/// Returns the script's answer.
#[must_use]
pub fn added(answer: Value) -> Added {
    let mut parts = parts(answer).into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let swept = next();
    if swept == Value::Int(-1) {
        let skipped: String = redis::from_redis_value(next()).unwrap_or_default();
        let places = skipped.split_whitespace();
        return Added {
            before: Some(places.filter_map(|place| place.parse().ok()).collect()),
            ..Added::default()
        };
    }
    Added {
        before: None,
        swept: number(&swept).unwrap_or_default(),
        full: self::parts(next()).iter().filter_map(number).collect(),
        changed: self::parts(next())
            .into_iter()
            .filter_map(changed)
            .collect(),
    }
}

fn changed(group: Value) -> Option<Changed> {
    let mut parts = parts(group).into_iter();
    Some(Changed {
        group: number(&parts.next()?)?,
        digest: redis::from_redis_value(parts.next()?).ok()?,
        members: match parts.next()? {
            Value::Array(members) => Ok(members),
            error => Err(LayerError::Refused(
                redis::from_redis_value(error).unwrap_or_default(),
            )),
        },
    })
}

fn parts(value: Value) -> Vec<Value> {
    match value {
        Value::Array(parts) => parts,
        _ => Vec::new(),
    }
}

fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}
