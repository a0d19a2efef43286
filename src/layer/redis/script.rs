//! The one script of the core layer: sweep, count, add and renew, for everything that goes to the
//! queues of a host at once and indivisibly; and with it the question whether groups still have
//! the members the sender believes they have.
//!
//! It does what `RedisChannelLayer` does in a transaction and a script of its own, but on the
//! right host, with the count and the addition in one step so that a queue never passes its
//! capacity, and for many messages at a time. All its keys are declared.

use std::collections::HashMap;

use redis::{Cmd, Value, cmd};

use crate::layer::LayerError;

/// `KEYS`: groups, then queues. `ARGV`: the number of groups, the score up to which memberships
/// have expired, the queues' life in seconds, the score up to which entries have expired; for each
/// group the digest of its members; for each entry the place of its group (0 if that does not
/// matter) and of its queue in `KEYS`, its score, the queue's capacity, its bytes.
///
/// An entry is not added if its group has other members now. Returns how many entries were swept,
/// the places of the entries that found their queue full, and of each group that has changed its
/// place, its digest, and its members or why they could not be read.
const TEXT: &str = "\
local groups, count, swept = tonumber(ARGV[1]), {}, 0
local stale, changed = {}, {}
for i = 1, groups do
  redis.pcall('ZREMRANGEBYSCORE', KEYS[i], 0, ARGV[2])
  local members = redis.pcall('ZRANGE', KEYS[i], 0, -1)
  local digest = ''
  if not members.err then digest = redis.sha1hex(table.concat(members, '\\n')) end
  if members.err or digest ~= ARGV[4 + i] then
    stale[i] = true
    changed[#changed + 1] = {i - 1, digest, members.err or members}
  end
end
for i = groups + 1, #KEYS do
  swept = swept + redis.call('ZREMRANGEBYSCORE', KEYS[i], 0, ARGV[4])
  count[i] = redis.call('ZCARD', KEYS[i])
end
local first, full, added = 5 + groups, {}, {}
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
return {swept, full, changed}";

/// A group whose members decide where entries go.
pub struct Group<'a> {
    pub key: String,
    /// Of the members the sender knows of; empty if it knows of none.
    pub digest: &'a str,
}

/// What is sent to one queue.
pub struct Entry<'a> {
    /// The place among the groups of the one that must not have changed.
    pub group: Option<usize>,
    pub key: &'a str,
    /// The sender's clock, Unix seconds.
    pub score: f64,
    pub capacity: usize,
    pub bytes: Vec<u8>,
}

/// How long things live.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Unix seconds.
    pub now: u64,
    /// Seconds an entry lives.
    pub expiry: u64,
    /// Seconds a membership lives.
    pub group_expiry: u64,
}

/// What became of a send.
#[derive(Debug, Default)]
pub struct Added {
    /// Entries of the target queues that had expired.
    pub swept: usize,
    /// Places of the entries whose queue was full: they were not added.
    pub full: Vec<usize>,
    /// The groups that are not what the sender knew: none of their entries was added.
    pub changed: Vec<Changed>,
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

/// The command that makes the server remember the script; it answers with the name for [`call`].
#[must_use]
pub fn load() -> Cmd {
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(TEXT);
    load
}

/// The command that runs the script: by its name, or with its text if the server has forgotten it.
#[must_use]
pub fn call(name: Option<&str>, groups: &[Group<'_>], entries: &[Entry<'_>], life: Life) -> Cmd {
    let mut keys: Vec<&str> = groups.iter().map(|group| group.key.as_str()).collect();
    let mut places: HashMap<&str, usize> = HashMap::new();
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
    call.arg(groups.len())
        .arg(life.now.saturating_sub(life.group_expiry))
        .arg(life.expiry)
        .arg(life.now.saturating_sub(life.expiry));
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

/// The script's answer.
#[must_use]
pub fn added(answer: Value) -> Added {
    let mut parts = parts(answer).into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    Added {
        swept: number(&next()).unwrap_or_default(),
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
