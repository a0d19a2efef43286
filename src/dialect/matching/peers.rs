//! Keys and channels that processes share in Redis. PostgreSQL has the last word; Redis only caches and
//! tells.
//!
//! | key or channel | |
//! |---|---|
//! | channel `matching:chat:<room>` | frames for the sockets of the room |
//! | `matching:chat:<room>:messages:recent` | the last 50 messages, for 300 s |
//! | `matching:chat:<room>:read:<user>` | the message up to which a user has read, for a day |
//! | `matching:chat:<room>:meta` | number of members and time of the last message, for 600 s |
//! | stream `matching:chat:<room>:stream` | messages for the group `matching-workers`, if the setting says so |

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redis::{Pipeline, cmd, pipe};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    database::Message,
    shown::{dumped, int},
};
use crate::{
    fastapi::{invalid::member, times::zulu},
    layer::{LayerError, redis::single::SingleHost},
    value::Value,
};

/// Pattern of the channels, and what stands before the room in them.
pub const CHANNELS: &str = "matching:chat:*";
const PREFIX: &str = "matching:chat:";

/// Messages that are cached of a room.
pub const RECENT: usize = 50;

const RECENT_S: u64 = 300;
const READ_S: u64 = 86_400;
const META_S: u64 = 600;

/// Most messages of a stream, about.
const STREAM: u64 = 10_000;

/// Commands that may wait; more are dropped.
const WAITING: usize = 4096;

/// Commands that are sent together.
const TOGETHER: usize = 128;

/// Something for Redis.
enum Outgoing {
    Publish { channel: String, payload: Vec<u8> },
    Stream { room: Uuid, fields: [String; 3] },
}

/// Commands that wait to be sent; a task takes them.
pub struct Waiting(mpsc::Receiver<Outgoing>);

/// The way to the other processes.
pub struct Peers {
    redis: SingleHost,
    streams: bool,
    outgoing: mpsc::Sender<Outgoing>,
    hasher: RandomState,
    /// Held for moments only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Publications of this process that have not come back, and how often each was made.
    echoes: HashMap<u64, u32>,
    /// Rooms whose caches are to be made anew.
    stale: HashSet<Uuid>,
    /// Rooms whose streams have their group.
    grouped: HashSet<Uuid>,
}

impl Peers {
    /// Makes the way; messages are added to streams if `streams` is set.
    #[must_use]
    pub fn new(redis: SingleHost, streams: bool) -> (Self, Waiting) {
        let (outgoing, waiting) = mpsc::channel(WAITING);
        let peers = Peers {
            redis,
            streams,
            outgoing,
            hasher: RandomState::new(),
            state: Mutex::default(),
        };
        (peers, Waiting(waiting))
    }

    /// Publishes a frame of a room.
    pub fn publish(&self, room: Uuid, frame: &Value) {
        let channel = format!("{PREFIX}{room}");
        let payload = dumped(frame);
        let echo = self.echo(&channel, &payload);
        let mut state = self.state();
        if state.echoes.len() < WAITING {
            *state.echoes.entry(echo).or_default() += 1;
        }
        drop(state);
        self.send(Outgoing::Publish { channel, payload });
    }

    /// Notes that a message was stored: for the stream of its room, and its caches.
    pub fn stored(&self, message: &Message) {
        self.state().stale.insert(message.room);
        if self.streams {
            let (sender, content) = (message.sender.user.clone(), message.content.clone());
            let fields = [message.id.to_string(), sender, content];
            let room = message.room;
            self.send(Outgoing::Stream { room, fields });
        }
    }

    /// Notes that the caches of a room are wrong.
    pub fn is_stale(&self, room: Uuid) {
        self.state().stale.insert(room);
    }

    /// Takes the rooms whose caches are to be made anew.
    pub fn take_stale(&self) -> Vec<Uuid> {
        mem::take(&mut self.state().stale).into_iter().collect()
    }

    /// Returns whether what was heard on a channel was published here.
    pub fn is_echo(&self, channel: &str, payload: &[u8]) -> bool {
        let echo = self.echo(channel, payload);
        let mut state = self.state();
        let Some(count) = state.echoes.get_mut(&echo) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            state.echoes.remove(&echo);
        }
        true
    }

    /// Expects none of the earlier publications to come back any more.
    pub fn forget_echoes(&self) {
        self.state().echoes.clear();
    }

    /// Keeps the newest messages of a room, and what it is, for those who look into Redis first.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn cache(
        &self,
        room: Uuid,
        recent: Vec<Value>,
        members: usize,
        last: Option<&Message>,
    ) -> Result<(), LayerError> {
        let last = last.map_or(Value::Null, |message| zulu(message.created_at).into());
        let meta = Value::Map(vec![
            member(
                "member_count",
                int(i64::try_from(members).unwrap_or(i64::MAX)),
            ),
            member("last_message_at", last),
        ]);
        let mut commands = pipe();
        let key = |name| format!("{PREFIX}{room}:{name}");
        let recent = dumped(&Value::List(recent));
        commands
            .set_ex(key("messages:recent"), recent, RECENT_S)
            .ignore();
        commands.set_ex(key("meta"), dumped(&meta), META_S).ignore();
        self.redis.run(&commands).await
    }

    /// Keeps how far a user has read.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn has_read(&self, room: Uuid, user: &str, message: Uuid) -> Result<(), LayerError> {
        let mut set = cmd("SET");
        set.arg(format!("{PREFIX}{room}:read:{user}"))
            .arg(message.to_string());
        self.redis.ask(set.arg("EX").arg(READ_S)).await
    }

    /// Sends what waits, until the process ends.
    pub async fn run(&self, waiting: Waiting) {
        let mut waiting = waiting.0;
        let mut some = Vec::new();
        while waiting.recv_many(&mut some, TOGETHER).await > 0 {
            let mut commands = pipe();
            for outgoing in some.drain(..) {
                self.add(&mut commands, outgoing);
            }
            if let Err(error) = self.redis.run::<()>(&commands).await {
                tracing::warn!(%error, "messages are not published: they are in the tables");
            }
        }
    }

    fn add(&self, commands: &mut Pipeline, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Publish { channel, payload } => {
                commands.publish(channel, payload).ignore();
            }
            Outgoing::Stream { room, fields } => {
                let key = format!("{PREFIX}{room}:stream");
                let mut state = self.state();
                let is_new = state.grouped.len() < WAITING && state.grouped.insert(room);
                drop(state);
                if is_new {
                    // It may be there already, which ends no pipeline.
                    let script = "return redis.pcall('XGROUP', 'CREATE', KEYS[1], \
                                  'matching-workers', '0', 'MKSTREAM') and 1";
                    commands.cmd("EVAL").arg(script).arg(1).arg(&key).ignore();
                }
                let [id, sender, content] = fields;
                let add = commands
                    .cmd("XADD")
                    .arg(key)
                    .arg("MAXLEN")
                    .arg("~")
                    .arg(STREAM)
                    .arg("*");
                add.arg("message_id").arg(id).arg("sender_id").arg(sender);
                add.arg("content").arg(content).ignore();
            }
        }
    }

    fn send(&self, outgoing: Outgoing) {
        if self.outgoing.try_send(outgoing).is_err() {
            tracing::warn!("messages are not published: too many wait for Redis");
        }
    }

    fn echo(&self, channel: &str, payload: &[u8]) -> u64 {
        self.hasher.hash_one((channel, payload))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the room of a channel.
#[must_use]
pub fn room_of(channel: &str) -> Option<Uuid> {
    Uuid::try_parse(channel.strip_prefix(PREFIX)?).ok()
}
