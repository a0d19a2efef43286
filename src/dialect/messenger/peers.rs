//! What is shared with other processes in Redis, Python ones among them.
//!
//! | key | |
//! |---|---|
//! | `online:<user>` | there while a socket of the user is open anywhere |
//! | `chat_members:<chat>` | Python processes send to those in it, and to no others |
//! | `offline:<user>` | live messages for a user who is away, for the Python process that he comes to |
//! | channel `chat:<chat>` | live messages |
//! | channel `chatferry:messenger` | edits, among Chatferry processes: Python ones would keep them for those who are away, and then close their sockets |
//!
//! Nothing here is the only copy of a message from somebody else: without Redis, messages wait in the
//! table of deliveries, where each process looks for those of its own users.

use std::{
    collections::HashMap,
    convert::Infallible,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{Pipeline, cmd, pipe};
use tokio::{sync::mpsc, time::sleep};

use super::records::{Edit, Message, dumped, int};
use crate::{
    fastapi::{invalid::member, times::naive},
    layer::{LayerError, redis::single::SingleHost},
    python::json::{Constants, loads},
    value::Value,
};

/// Channel of edits.
pub const EDITS: &str = "chatferry:messenger";

/// Pattern of the channels of live messages, and what stands before the chat in them.
pub const LIVE: &str = "chat:*";
const LIVE_PREFIX: &str = "chat:";

/// Seconds for which a user counts as online without a word.
const ONLINE_S: u64 = 90;

/// Most entries of the list of a user who is away.
const KEPT: i64 = 300;

/// Publications and entries that may wait; more are dropped, and found in the tables.
const WAITING: usize = 4096;
const PENDING: usize = 65_536;

/// Commands that are sent together.
const TOGETHER: usize = 128;

/// Least time that Python processes have to keep a message for a user before it is kept here: they do
/// not look whether it is kept already.
pub const AFTER_PEERS: Duration = Duration::from_secs(1);

/// Adds entries to a list that are not in it.
const KEEP: &str = "local kept = {} \
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do kept[entry] = true end \
    for i = 2, #ARGV do \
        if not kept[ARGV[i]] then redis.call('RPUSH', KEYS[1], ARGV[i]) end \
    end \
    redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)";

/// Something to publish.
struct Publication {
    channel: String,
    payload: Vec<u8>,
}

/// Messages for users who seem to be away, by user.
#[derive(Default)]
struct Pending {
    young: HashMap<i64, Vec<Bytes>>,
    /// Those that Python processes have had the time for.
    old: HashMap<i64, Vec<Bytes>>,
    count: usize,
}

/// The way to the other processes.
pub struct Peers {
    redis: SingleHost,
    /// Name of this process in the channel of edits.
    name: String,
    publications: mpsc::Sender<Publication>,
    /// Held for moments only.
    pending: Mutex<Pending>,
}

/// What waits to be published; a task takes it.
pub struct Outgoing(mpsc::Receiver<Publication>);

/// An entry of the list of a user who was away.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Id and sender of a message; `None` for an edit.
    pub message: Option<(i64, i64)>,
    pub value: Value,
}

impl Peers {
    /// Makes the way; `name` is no other process'.
    #[must_use]
    pub fn new(redis: SingleHost, name: String) -> (Self, Outgoing) {
        let (publications, to_publish) = mpsc::channel(WAITING);
        let peers = Peers {
            redis,
            name,
            publications,
            pending: Mutex::default(),
        };
        (peers, Outgoing(to_publish))
    }

    /// Publishes a message, and keeps it for those of these users who are away.
    pub fn tell(&self, message: &Message, away: &[i64]) {
        let payload = Bytes::from(dumped(&message.live()));
        let mut pending = self.pending();
        for &user in away {
            if pending.count < PENDING {
                pending.count += 1;
                let waiting = pending.young.entry(user).or_default();
                waiting.push(payload.clone());
            }
        }
        drop(pending);
        self.publish(format!("{LIVE_PREFIX}{}", message.chat_id), payload.into());
    }

    /// Publishes an edit.
    pub fn tell_edit(&self, edit: &Edit) {
        let payload = Value::Map(vec![
            member("host", self.name.as_str().into()),
            member("chat_id", int(edit.chat_id)),
            member("edit", edit.live()),
        ]);
        self.publish(EDITS.to_owned(), dumped(&payload));
    }

    fn publish(&self, channel: String, payload: Vec<u8>) {
        let publication = Publication { channel, payload };
        if self.publications.try_send(publication).is_err() {
            tracing::warn!("messages are not published: too many wait for Redis");
        }
    }

    /// Asks whether Redis answers.
    pub async fn answers(&self) -> bool {
        self.redis.ask::<String>(&cmd("PING")).await.is_ok()
    }

    /// Notes that these users are online, for a while.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn are_online(&self, users: &[i64]) -> Result<(), LayerError> {
        for some in users.chunks(TOGETHER) {
            let mut commands = pipe();
            for user in some {
                let key = format!("online:{user}");
                commands.set_ex(key, "1", ONLINE_S).ignore();
            }
            self.redis.run::<()>(&commands).await?;
        }
        Ok(())
    }

    /// Notes that a user is online and a member of these chats.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn arrives(&self, user: i64, chats: &[i64]) -> Result<(), LayerError> {
        self.are_online(&[user]).await?;
        self.are_members(chats, &[user]).await
    }

    /// Notes that these users are members of these chats.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn are_members(&self, chats: &[i64], users: &[i64]) -> Result<(), LayerError> {
        for some in chats.chunks(TOGETHER) {
            let mut commands = pipe();
            for chat in some {
                commands
                    .sadd(format!("chat_members:{chat}"), users)
                    .ignore();
            }
            self.redis.run::<()>(&commands).await?;
        }
        Ok(())
    }

    /// Notes that a user is not online any more.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn leaves(&self, user: i64) -> Result<(), LayerError> {
        self.redis
            .ask(cmd("DEL").arg(format!("online:{user}")))
            .await
    }

    /// Takes what is kept for a user who was away, here and in Redis.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn take_kept(&self, user: i64) -> Result<Vec<Entry>, LayerError> {
        let pending = self.pending().take(user);
        let kept = self.take_list(user).await?;
        let all = kept.iter().map(Vec::as_slice);
        let all = all.chain(pending.iter().map(|entry| &**entry));
        Ok(all.filter_map(Entry::read).collect())
    }

    /// Drops what Python processes have kept for a user while he was here and was sent it.
    ///
    /// # Errors
    /// Without an answer of Redis.
    pub async fn forget(
        &self,
        user: i64,
        was_sent: impl Fn(i64) -> bool,
    ) -> Result<(), LayerError> {
        let kept = self.take_list(user).await?;
        let left: Vec<Bytes> = kept
            .into_iter()
            .filter(|entry| match Entry::read(entry) {
                Some(Entry {
                    message: Some((id, _)),
                    ..
                }) => !was_sent(id),
                Some(_) | None => false,
            })
            .map(Bytes::from)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut commands = pipe();
        keep(&mut commands, user, &left);
        self.redis.run(&commands).await
    }

    async fn take_list(&self, user: i64) -> Result<Vec<Vec<u8>>, LayerError> {
        let mut commands = Pipeline::new();
        let key = format!("offline:{user}");
        commands.atomic().lrange(&key, 0, -1).del(&key).ignore();
        let (entries,): (Vec<Vec<u8>>,) = self.redis.run(&commands).await?;
        Ok(entries)
    }

    /// Reads an edit that another process has published: its chat, and the frame's content.
    #[must_use]
    pub fn read_edit(&self, payload: &[u8]) -> Option<(i64, Value)> {
        let value = read(payload)?;
        let is_own = value.get("host")?.as_str() == Some(&self.name);
        let chat = whole(value.get("chat_id")?)?;
        let edit = value.get("edit")?.clone();
        (!is_own).then_some((chat, edit))
    }

    /// Sends what waits, until the process ends. `is_here` tells users with a socket in this process.
    pub async fn run(&self, outgoing: Outgoing, is_here: impl Fn(i64) -> bool) {
        tokio::join!(self.publish_all(outgoing.0), self.keep_all(is_here));
    }

    async fn publish_all(&self, mut publications: mpsc::Receiver<Publication>) {
        let mut some = Vec::new();
        while publications.recv_many(&mut some, TOGETHER).await > 0 {
            let mut commands = pipe();
            for Publication { channel, payload } in some.drain(..) {
                commands.publish(channel, payload).ignore();
            }
            if let Err(error) = self.redis.run::<()>(&commands).await {
                tracing::warn!(%error, "messages are not published: others find them in the tables");
            }
        }
    }

    async fn keep_all(&self, is_here: impl Fn(i64) -> bool) -> Infallible {
        loop {
            sleep(AFTER_PEERS).await;
            let mut ripe: Vec<_> = self.pending().ripen().into_iter().collect();
            ripe.retain(|(user, _)| !is_here(*user));
            for some in ripe.chunks(TOGETHER) {
                if let Err(error) = self.keep(some).await {
                    tracing::warn!(%error, "messages are not kept in Redis for users who are away");
                }
            }
        }
    }

    /// Keeps entries for those of these users who are away.
    async fn keep(&self, some: &[(i64, Vec<Bytes>)]) -> Result<(), LayerError> {
        let mut commands = pipe();
        for (user, _) in some {
            commands.exists(format!("online:{user}"));
        }
        let online: Vec<bool> = self.redis.run(&commands).await?;
        let mut commands = pipe();
        for ((user, entries), _) in some.iter().zip(online).filter(|(_, online)| !online) {
            keep(&mut commands, *user, entries);
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.redis.run(&commands).await
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Takes what waits for a user, the oldest first.
    fn take(&mut self, user: i64) -> Vec<Bytes> {
        let mut taken = self.old.remove(&user).unwrap_or_default();
        taken.extend(self.young.remove(&user).unwrap_or_default());
        self.count -= taken.len();
        taken
    }

    /// Takes the old ones; the young ones are old from now on.
    fn ripen(&mut self) -> HashMap<i64, Vec<Bytes>> {
        let young = mem::take(&mut self.young);
        let ripe = mem::replace(&mut self.old, young);
        self.count -= ripe.values().map(Vec::len).sum::<usize>();
        ripe
    }
}

/// Adds a command that keeps entries in the list of a user.
fn keep(commands: &mut Pipeline, user: i64, entries: &[Bytes]) {
    let eval = commands.cmd("EVAL").arg(KEEP).arg(1);
    eval.arg(format!("offline:{user}")).arg(KEPT);
    for entry in entries {
        eval.arg(&**entry);
    }
    eval.ignore();
}

impl Entry {
    /// Reads a live message, or an edit, as it is published or kept; `None` for anything else.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let value = read(payload)?;
        let message = match (value.get("id"), value.get("sender_id")) {
            (Some(id), sender) => Some((whole(id)?, sender.and_then(whole).unwrap_or_default())),
            (None, _) => None,
        };
        let is_edit = value.get("type").and_then(Value::as_str) == Some("message_edited");
        (message.is_some() || is_edit).then_some(Entry { message, value })
    }
}

/// Returns the chat of a channel of live messages.
#[must_use]
pub fn chat_of(channel: &str) -> Option<i64> {
    channel.strip_prefix(LIVE_PREFIX)?.parse().ok()
}

/// Returns a number as an id; `None` if it is none.
#[must_use]
pub fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

fn read(payload: &[u8]) -> Option<Value> {
    loads(std::str::from_utf8(payload).ok()?, Constants::Allow).ok()
}

/// Returns the time as errors and greetings have it.
#[must_use]
pub fn stamp() -> String {
    naive(crate::python::datetime::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_message_or_an_edit_and_nothing_else() {
        let of = |text: &str| Entry::read(text.as_bytes()).map(|it| it.message);
        assert_eq!(of(r#"{"id": 3, "sender_id": 1}"#), Some(Some((3, 1))));
        assert_eq!(
            of(r#"{"type": "message_edited", "message_id": 3}"#),
            Some(None)
        );
        for junk in ["", "[1]", "{}", r#"{"id": "3"}"#, r#"{"id": 1e3}"#, "\u{0}"] {
            assert_eq!(of(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_channel_names_its_chat() {
        assert_eq!(chat_of("chat:12"), Some(12));
        assert_eq!(chat_of("chat:12x"), None);
        assert_eq!(chat_of(EDITS), None);
    }
}
