//! The chat: who is where, what events do, and what is shared in Redis.
//!
//! | key | |
//! |---|---|
//! | `chat:<a>_<b>` | list of the last 100 messages of two users, by whose order of code points the key is made |
//! | channel `flask-socketio` | events for the rooms of all processes, in the JSON of python-socketio. Its older form, pickle, is never read: it can run code |
//!
//! The list is the store: a sender is told that a message is sent once Redis has confirmed it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use redis::{Pipeline, cmd, pipe};
use tokio::sync::mpsc;

use super::{
    packet::{Event, acknowledged, event},
    session::Session,
};
use crate::{
    clock::since_1970,
    fastapi::{invalid::member, times::naive},
    layer::{
        LayerError,
        redis::{side::Heard, single::SingleHost},
    },
    limits::LimitedAction,
    python::{
        datetime::Timestamp,
        json::{Constants, loads, write_ascii},
        pystr::{is_truthy, str_of},
    },
    value::Value,
};

/// The channel of python-socketio.
pub const CHANNEL: &str = "flask-socketio";

/// Messages that a list keeps.
const KEPT: isize = 100;

/// Longest content, in characters; of anything but text, as JSON.
const CONTENT_MAX: usize = 2000;

/// Longest id of a user, in bytes.
const USER_MAX: usize = 255;

/// Events that may wait to be published; more are dropped, and found in the lists.
const WAITING: usize = 4096;

/// Events that are published together.
const TOGETHER: usize = 128;

const MISSING: &str = "Missing required fields";
const TOO_LONG: &str = "Message too long (max 2000 characters)";
const FAILED: &str = "Failed to send message";
const TOO_MANY: &str = "Too many messages";

/// The chat of one process.
pub struct Chat {
    redis: SingleHost,
    /// Name of this process in the channel.
    host_id: String,
    /// Sessions of users who were let in. Held for moments only.
    rooms: Mutex<HashMap<Arc<str>, Vec<Arc<Session>>>>,
    publications: mpsc::Sender<Vec<u8>>,
}

/// What waits to be published; a task takes it.
pub struct Outgoing(mpsc::Receiver<Vec<u8>>);

impl Chat {
    /// Makes the chat; `host_id` is no other process'.
    #[must_use]
    pub fn new(redis: SingleHost, host_id: String) -> (Self, Outgoing) {
        let (publications, to_publish) = mpsc::channel(WAITING);
        let chat = Chat {
            redis,
            host_id,
            rooms: Mutex::default(),
            publications,
        };
        (chat, Outgoing(to_publish))
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn ping(&self) -> Result<(), LayerError> {
        self.redis.ask::<String>(&cmd("PING")).await.map(drop)
    }

    /// Puts a session into the room of its user: what is for the user is for it from now on.
    pub fn enter(&self, user: &Arc<str>, session: &Arc<Session>) {
        let mut rooms = self.rooms();
        let room = rooms.entry(Arc::clone(user)).or_default();
        if room.iter().all(|it| !Arc::ptr_eq(it, session)) {
            room.push(Arc::clone(session));
        }
    }

    /// Takes a session out of the room of its user.
    pub fn leave(&self, session: &Arc<Session>) {
        let Some(user) = session.leave() else { return };
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get_mut(&user) {
            room.retain(|it| !Arc::ptr_eq(it, session));
            if room.is_empty() {
                rooms.remove(&user);
            }
        }
    }

    /// Does what an event of a user asks for.
    pub async fn event(&self, session: &Session, user: &Arc<str>, asked: Event) {
        let data = asked.data.as_ref().filter(|_| asked.attachments == 0);
        let is_known = match asked.name.as_str() {
            "join_chat" => {
                self.join(session, user, data).await;
                true
            }
            "send_message" => {
                self.send(session, user, data).await;
                true
            }
            "typing_start" => self.typing(session, user, data, true),
            "typing_stop" => self.typing(session, user, data, false),
            _ => false,
        };
        if let Some(id) = asked.acknowledge.filter(|_| is_known) {
            session.push(acknowledged(&id));
        }
    }

    /// Sends the messages so far of the user and another.
    async fn join(&self, session: &Session, user: &str, data: Option<&Value>) {
        let Some(partner) = data.and_then(|data| data.get("chat_partner_id")) else {
            if is_of_another_generation(data) {
                session.push(refusal(MISSING));
            }
            return;
        };
        let Some(partner_id) = id_of(partner) else {
            return;
        };
        let mut range = cmd("LRANGE");
        range.arg(key(user, &partner_id)).arg(0).arg(-1);
        let kept = self.redis.ask::<Vec<Vec<u8>>>(&range).await;
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, "the messages of a chat are not read");
            Vec::new()
        });
        let messages = kept.iter().filter_map(|message| read(message)).collect();
        let answer = Value::Map(vec![
            member("messages", Value::List(messages)),
            member("chat_partner_id", partner.clone()),
        ]);
        session.push(event("previous_messages", &[answer]));
    }

    /// Stores a message, and sends it to both.
    async fn send(&self, session: &Session, user: &Arc<str>, data: Option<&Value>) {
        let field = |name| {
            data.and_then(|data| data.get(name))
                .filter(|it| is_truthy(it))
        };
        let recipient = field("recipient_id").and_then(id_of);
        let (Some(recipient), Some(content)) = (recipient, field("content")) else {
            return session.push(refusal(MISSING));
        };
        if is_too_long(content) {
            return session.push(refusal(TOO_LONG));
        }
        if session.meter.allow(LimitedAction::Message).is_err() {
            return session.push(refusal(TOO_MANY));
        }
        let timestamp = naive(Timestamp::now());
        let message = Value::Map(vec![
            member("sender_id", (&**user).into()),
            member("recipient_id", recipient.as_str().into()),
            member("content", content.clone()),
            member("timestamp", timestamp.as_str().into()),
        ]);
        if let Err(error) = self.store(&key(user, &recipient), &message).await {
            tracing::error!(%error, "a message is not stored");
            return session.push(refusal(FAILED));
        }
        self.emit("receive_message", &recipient, message);
        let sent = Value::Map(vec![
            member("status", "success".into()),
            member("message_id", Value::Float(since_1970().as_secs_f64())),
            member("timestamp", timestamp.into()),
        ]);
        self.emit("message_sent", user, sent);
    }

    async fn store(&self, key: &str, message: &Value) -> Result<(), LayerError> {
        let mut commands = Pipeline::new();
        let commands = commands.atomic();
        commands.rpush(key, dumped(message)).ignore();
        commands.ltrim(key, -KEPT, -1).ignore();
        self.redis.run(commands).await
    }

    /// Tells a user that this one is typing, or no more. Returns whether it is known.
    fn typing(&self, session: &Session, user: &str, data: Option<&Value>, is_typing: bool) -> bool {
        let recipient = data.and_then(|data| data.get("recipient_id"));
        match recipient.filter(|it| is_truthy(it)).and_then(id_of) {
            Some(recipient) if session.meter.allow(LimitedAction::Typing).is_ok() => {
                let typing = Value::Map(vec![
                    member("user_id", user.into()),
                    member("typing", is_typing.into()),
                ]);
                self.emit("user_typing", &recipient, typing);
            }
            None if is_of_another_generation(data) => session.push(refusal(MISSING)),
            _ => {}
        }
        true
    }

    /// Sends an event to the room of a user, here and in all processes.
    fn emit(&self, name: &'static str, room: &str, data: Value) {
        let arguments = [data];
        self.hand(room, &event(name, &arguments));
        let [data] = arguments;
        let publication = dumped(&Value::Map(vec![
            member("method", "emit".into()),
            member("event", name.into()),
            member("data", Value::List(vec![data])),
            member("binary", false.into()),
            member("namespace", "/".into()),
            member("room", room.into()),
            member("skip_sid", Value::Null),
            member("callback", Value::Null),
            member("host_id", self.host_id.as_str().into()),
        ]));
        if self.publications.try_send(publication).is_err() {
            tracing::warn!("events are not published: too many wait for Redis");
        }
    }

    fn hand(&self, room: &str, packet: &Bytes) {
        if let Some(sessions) = self.rooms().get(room) {
            for session in sessions {
                session.push(packet.clone());
            }
        }
    }

    /// Publishes what waits, until the process ends.
    pub async fn publish(&self, outgoing: Outgoing) {
        let mut publications = outgoing.0;
        let mut some = Vec::new();
        while publications.recv_many(&mut some, TOGETHER).await > 0 {
            let mut commands = pipe();
            for payload in some.drain(..) {
                commands.publish(CHANNEL, payload).ignore();
            }
            if let Err(error) = self.redis.run::<()>(&commands).await {
                tracing::warn!(%error, "events are not published: messages are in the lists");
            }
        }
    }

    /// Hands what other processes publish to the rooms here, until the process ends.
    pub async fn hear(&self, mut heard: mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            let Heard::Message(_, payload) = heard else {
                continue;
            };
            if let Some((rooms, packet)) = self.read_publication(&payload) {
                match rooms {
                    Some(rooms) => rooms.iter().for_each(|room| self.hand(room, &packet)),
                    None => self.hand_all(&packet),
                }
            }
        }
    }

    fn hand_all(&self, packet: &Bytes) {
        for session in self.rooms().values().flatten() {
            session.push(packet.clone());
        }
    }

    /// Returns the rooms and the packet of an event of another process; no rooms are all.
    fn read_publication(&self, payload: &[u8]) -> Option<(Option<Vec<String>>, Bytes)> {
        let value = read(payload)?;
        let text = |name| value.get(name).and_then(Value::as_str);
        let is_ours = text("host_id") == Some(&self.host_id);
        let namespace = text("namespace").unwrap_or("/");
        if is_ours || text("method") != Some("emit") || namespace != "/" {
            return None;
        }
        let arguments = match value.get("data") {
            Some(Value::List(arguments)) => arguments.clone(),
            None | Some(Value::Null) => Vec::new(),
            Some(argument) => vec![argument.clone()],
        };
        let packet = event(text("event")?, &arguments);
        let rooms = match value.get("room") {
            None | Some(Value::Null) => None,
            Some(Value::List(rooms)) => Some(rooms.iter().filter_map(id_of).collect()),
            Some(room) => Some(id_of(room).into_iter().collect()),
        };
        Some((rooms, packet))
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Arc<Session>>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key of the list of two users.
fn key(one: &str, other: &str) -> String {
    // Bytes of UTF-8 have the order of code points.
    format!("chat:{}_{}", one.min(other), one.max(other))
}

/// Returns an id as text: a number's too. `None` for what is false in Python, what is neither, and for
/// one too long.
fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::Str(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(true) => {
            let text = str_of(value);
            let text = text
                .as_str()
                .filter(|it| is_truthy(value) && it.len() <= USER_MAX);
            text.map(str::to_owned)
        }
        _ => None,
    }
}

/// Returns whether a client speaks the language of a later generation, which would wait for ever.
fn is_of_another_generation(data: Option<&Value>) -> bool {
    data.is_some_and(|data| data.get("chat_id").is_some())
}

fn is_too_long(content: &Value) -> bool {
    match content {
        Value::Str(text) => text.code_points().nth(CONTENT_MAX).is_some(),
        other => dumped(other).len() > CONTENT_MAX,
    }
}

fn refusal(text: &'static str) -> Bytes {
    event(
        "message_error",
        &[Value::Map(vec![member("error", text.into())])],
    )
}

fn dumped(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_ascii(&mut bytes, value);
    bytes
}

fn read(bytes: &[u8]) -> Option<Value> {
    loads(std::str::from_utf8(bytes).ok()?, Constants::Allow).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_two_users_is_the_same_from_both_sides() {
        assert_eq!(key("ben", "ann"), "chat:ann_ben");
        assert_eq!(key("ann", "ben"), "chat:ann_ben");
        assert_eq!(key("é", "z"), "chat:z_é");
        assert_eq!(key("10", "9"), "chat:10_9");
    }

    #[test]
    fn an_id_is_a_text_or_the_text_of_a_number() {
        let of = |text: &str| id_of(&loads(text, Constants::Allow).unwrap());
        assert_eq!(of("\"ann\"").as_deref(), Some("ann"));
        assert_eq!(of("7").as_deref(), Some("7"));
        assert_eq!(of("1.5").as_deref(), Some("1.5"));
        for none in ["\"\"", "0", "null", "false", "[]", "{}", "[\"ann\"]"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("\"{}\"", "x".repeat(256))), None);
    }

    #[test]
    fn two_thousand_characters_fit_and_one_more_does_not() {
        assert!(!is_too_long(&"й".repeat(2000).into()));
        assert!(is_too_long(&"й".repeat(2001).into()));
        assert!(is_too_long(&Value::List(vec!["x".repeat(2000).into()])));
    }
}
