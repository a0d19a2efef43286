//! The use cases, and who hears of them. A message is committed first, and then given to the sockets
//! of this process and published for the others.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use tokio::{sync::mpsc, time::interval};
use uuid::Uuid;

use super::{
    database::{MatchingDatabase, Membership, Message, NewMessage, NoMember},
    peers::{Peers, RECENT, Waiting, room_of},
    shown::{Forms, left, read, typing},
    sockets::{Ousted, Sockets},
};
use crate::{
    auth::jwt::install_signatures,
    config::Secret,
    layer::redis::side::Heard,
    python::{
        datetime::Timestamp,
        json::{Constants, loads},
    },
    store::{
        StoreError,
        batch::{Batch, together},
    },
    value::Value,
    vital::Vital,
};

/// Between two renewals of caches.
const CACHE: Duration = Duration::from_millis(200);

/// Rooms whose caches are made anew at a time; others have theirs later.
const CACHED: usize = 100;

/// Seconds of messages that are looked for once the subscription is there again, besides those that
/// it was away.
const MARGIN_S: u64 = 10;

/// Messages that are remembered: what comes by two ways is sent once.
const REMEMBERED: usize = 8192;

/// Longest id of a user, in characters.
const USER_MAX: usize = 36;

/// The time in which messages are counted for the limit.
const MINUTE: Duration = Duration::from_secs(60);

/// Rooms and users whose messages are counted; past that all begin anew.
const COUNTED: usize = 100_000;

/// Everything that the operations and the sockets share.
pub struct Core {
    pub database: Arc<MatchingDatabase>,
    pub fan_out: Arc<FanOut>,
    pub forms: Forms,
    tokens: TokenReader,
    sends: Batch<NewMessage, Option<Message>>,
    messages_per_minute: u32,
    /// Held for moments only.
    counts: Mutex<HashMap<(Uuid, String), (Instant, u32)>>,
}

/// Hands frames to sockets and peers.
pub struct FanOut {
    pub sockets: Arc<Sockets>,
    pub peers: Peers,
    forms: Forms,
    /// Held for moments only.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    order: VecDeque<Uuid>,
    ids: HashSet<Uuid>,
}

/// Reads tokens.
pub struct TokenReader {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    token_type: Option<String>,
}

/// A user has sent too many messages to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    pub limit: u32,
    /// Seconds until the next one is taken.
    pub wait_s: u64,
}

impl TokenReader {
    /// Reads tokens that are signed with this key.
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        install_signatures();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        TokenReader {
            key: DecodingKey::from_secret(key.expose().as_bytes()),
            validation,
        }
    }

    /// Returns the user of a token that is good: a refresh token is none.
    #[must_use]
    pub fn user(&self, token: &str) -> Option<String> {
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .ok()?
            .claims;
        let is_refresh = claims.token_type.as_deref() == Some("refresh");
        let size = claims.sub.chars().count();
        (!is_refresh && (1..=USER_MAX).contains(&size)).then_some(claims.sub)
    }
}

impl Core {
    /// Starts the task that writes.
    #[must_use]
    pub fn start(
        database: MatchingDatabase,
        tokens: TokenReader,
        peers: Peers,
        (forms, messages_per_minute): (Forms, u32),
        vital: &Vital,
    ) -> Arc<Self> {
        let database = Arc::new(database);
        let fan_out = Arc::new(FanOut {
            sockets: Arc::default(),
            peers,
            forms,
            seen: Mutex::default(),
        });
        let (stored, heard) = (Arc::clone(&database), Arc::clone(&fan_out));
        let send = move |all: Vec<NewMessage>| {
            let (database, fan_out) = (Arc::clone(&stored), Arc::clone(&heard));
            Box::pin(async move { send_all(&database, &fan_out, all).await }) as _
        };
        Arc::new(Core {
            sends: Batch::start(vital, "matching messages", Box::new(send)),
            database,
            fan_out,
            forms,
            tokens,
            messages_per_minute,
            counts: Mutex::default(),
        })
    }

    /// Returns the user of a token.
    #[must_use]
    pub fn user(&self, token: &str) -> Option<String> {
        self.tokens.user(token)
    }

    /// Returns the place of a user in a room.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn member(
        &self,
        room: Uuid,
        user: &str,
    ) -> Result<Result<Membership, NoMember>, StoreError> {
        self.database.member(room, user).await
    }

    /// Counts a message of a user to a room.
    ///
    /// # Errors
    /// [`TooMany`] past the limit.
    pub fn count(&self, room: Uuid, user: &str) -> Result<(), TooMany> {
        let limit = self.messages_per_minute;
        if limit == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut counts = lock(&self.counts);
        if counts.len() >= COUNTED {
            counts.retain(|_, (began, _)| now.duration_since(*began) < MINUTE);
        }
        let (began, count) = counts.entry((room, user.to_owned())).or_insert((now, 0));
        if now.duration_since(*began) >= MINUTE {
            (*began, *count) = (now, 0);
        }
        if *count >= limit {
            let wait = MINUTE.saturating_sub(now.duration_since(*began));
            return Err(TooMany {
                limit,
                wait_s: wait.as_secs() + 1,
            });
        }
        *count += 1;
        Ok(())
    }

    /// Stores a message and hands it on; `None` if the sender may not send there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn send(&self, new: NewMessage) -> Result<Option<Message>, StoreError> {
        self.sends.write(new).await
    }

    /// Marks messages up to this one as read, and tells the room. Returns the time and the number of
    /// messages that are left.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(
        &self,
        (place, user): (&Membership, &str),
        message: &Message,
    ) -> Result<(Timestamp, i64), StoreError> {
        let (at, unread) = self.database.read(user, message).await?;
        let id = self.forms.id(user, Some(place.member_id), place.is_blind);
        let frame = read(place.room, &id, message.id, Timestamp::now());
        self.fan_out.tell(place.room, &frame, None);
        let peers = &self.fan_out.peers;
        if let Err(error) = peers.has_read(place.room, user, message.id).await {
            tracing::debug!(%error, "how far a user has read is not kept in Redis");
        }
        Ok((at, unread))
    }

    /// Tells the others of a room that a user is typing.
    pub fn typing(&self, (place, user): (&Membership, &str), is_typing: bool) {
        let id = self.forms.id(user, Some(place.member_id), place.is_blind);
        let name = if place.is_blind {
            &place.anonymous_name
        } else {
            &place.username
        };
        let frame = typing(&id, name.as_deref().unwrap_or(user), is_typing);
        self.fan_out.tell(place.room, &frame, Some(user));
    }

    /// Takes a user out of a room, closes his sockets there, and tells the others.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn leave(&self, place: &Membership, user: &str) -> Result<(), StoreError> {
        self.database.leave(place.room, user).await?;
        let id = self.forms.id(user, Some(place.member_id), place.is_blind);
        self.fan_out.sockets.oust(place.room, user, Ousted::Left);
        self.fan_out.tell(place.room, &left(place.room, &id), None);
        self.fan_out.peers.is_stale(place.room);
        Ok(())
    }

    /// Sends what waits for Redis, until the process ends.
    pub async fn send_to_peers(&self, waiting: Waiting) {
        self.fan_out.peers.run(waiting).await;
    }

    /// Hands what other processes publish to the sockets here, until the process ends.
    pub async fn hear(&self, mut heard: mpsc::Receiver<Heard>) {
        let mut last = Instant::now();
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Subscribed => {
                    self.fan_out.peers.forget_echoes();
                    self.catch_up(last.elapsed()).await;
                }
                Heard::Message(channel, payload) => {
                    if let Some(room) = room_of(&channel)
                        && !self.fan_out.peers.is_echo(&channel, &payload)
                        && self.fan_out.sockets.has(room)
                    {
                        self.hand(room, &payload).await;
                    }
                }
            }
            last = Instant::now();
        }
    }

    async fn hand(&self, room: Uuid, payload: &[u8]) {
        let text = std::str::from_utf8(payload).ok();
        let Some(frame) = text.and_then(|text| loads(text, Constants::Allow).ok()) else {
            return;
        };
        let text = |value: &Value, name| value.get(name).and_then(Value::as_str).map(str::to_owned);
        match text(&frame, "type").as_deref() {
            Some("new_message") => {
                let id = frame.get("message").and_then(|it| text(it, "message_id"));
                let id = id.and_then(|id| Uuid::try_parse(&id).ok());
                if id.is_some_and(|id| !self.fan_out.is_new(id)) {
                    return;
                }
            }
            // A member who has left may have sockets here, and his id may not be shown.
            Some("member_left") => self.oust_those_who_left(room).await,
            Some("typing" | "read") => {}
            _ => return,
        }
        let but = match text(&frame, "type").as_deref() {
            Some("typing") => text(&frame, "user_id"),
            _ => None,
        };
        self.fan_out
            .sockets
            .send(room, &self.forms.frame(&frame), but.as_deref());
    }

    async fn oust_those_who_left(&self, room: Uuid) {
        let mut places = self.fan_out.sockets.places();
        places.retain(|place| place.0 == room);
        self.oust_gone(&places, Ousted::Left).await;
    }

    async fn oust_gone(&self, places: &[(Uuid, String)], why: Ousted) {
        match self.database.gone(places).await {
            Ok(gone) => {
                for (room, user) in gone {
                    self.fan_out.sockets.oust(room, &user, why);
                }
            }
            Err(error) => tracing::warn!(%error, "rights of open sockets are not looked at"),
        }
    }

    /// Looks for messages that were published while nothing was heard.
    async fn catch_up(&self, away: Duration) {
        let rooms = self.fan_out.sockets.rooms();
        if rooms.is_empty() {
            return;
        }
        let seconds = i64::try_from(away.as_secs() + MARGIN_S).unwrap_or(i64::MAX);
        match self.database.recent(&rooms, seconds).await {
            Ok(messages) => {
                for message in messages {
                    if self.fan_out.is_new(message.id) {
                        let frame = self.forms.frame(&self.forms.new_message(&message));
                        self.fan_out.sockets.send(message.room, &frame, None);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "messages that were missed are not looked for"),
        }
    }

    /// Looks after caches and rights, until the process ends. `recheck` is the time between two looks
    /// at rights; none if it is zero.
    pub async fn look_after(&self, recheck: Duration) {
        let mut tick = interval(CACHE);
        let mut checked = Instant::now();
        loop {
            tick.tick().await;
            let mut stale = self.fan_out.peers.take_stale();
            for room in stale.split_off(stale.len().min(CACHED)) {
                self.fan_out.peers.is_stale(room);
            }
            for room in stale {
                self.cache(room).await;
            }
            if !recheck.is_zero() && checked.elapsed() >= recheck {
                checked = Instant::now();
                let places = self.fan_out.sockets.places();
                if !places.is_empty() {
                    self.oust_gone(&places, Ousted::Refused).await;
                }
            }
        }
    }

    async fn cache(&self, room: Uuid) {
        let found = async {
            let page = self.database.page(room, None, RECENT).await?;
            let about = self.database.room(room).await?;
            Ok::<_, StoreError>((page, about))
        };
        let (page, about) = match found.await {
            Ok((page, Some(about))) => (page, about),
            Ok((_, None)) => return,
            Err(error) => {
                tracing::debug!(%error, "a cache in Redis is not made anew");
                return;
            }
        };
        let recent = page
            .messages
            .iter()
            .map(|it| self.forms.message(it))
            .collect();
        let last = page.messages.last();
        let cached = self
            .fan_out
            .peers
            .cache(room, recent, about.members.len(), last);
        if let Err(error) = cached.await {
            tracing::debug!(%error, "a cache in Redis is not made anew");
        }
    }

    /// Has all that was accepted stored.
    pub async fn close(&self) {
        self.sends.close().await;
        self.database.close();
    }
}

impl FanOut {
    /// Gives a frame to the sockets of a room, but not to those of `but`, and publishes it.
    fn tell(&self, room: Uuid, frame: &Value, but: Option<&str>) {
        self.sockets.send(room, &self.forms.frame(frame), but);
        self.peers.publish(room, frame);
    }

    /// Notes a message; returns whether it is new here.
    fn is_new(&self, id: Uuid) -> bool {
        let mut seen = lock(&self.seen);
        if !seen.ids.insert(id) {
            return false;
        }
        seen.order.push_back(id);
        if seen.order.len() > REMEMBERED
            && let Some(first) = seen.order.pop_front()
        {
            seen.ids.remove(&first);
        }
        true
    }
}

/// Stores messages and hands them on in their order.
async fn send_all(
    database: &MatchingDatabase,
    fan_out: &FanOut,
    all: Vec<NewMessage>,
) -> Vec<Result<Option<Message>, StoreError>> {
    let sent = together(database, &all).await;
    let mut stored: Vec<&Message> = sent.iter().flatten().flatten().collect();
    stored.sort_by_key(|message| (message.created_at.micros(), message.id));
    for message in stored {
        fan_out.is_new(message.id);
        fan_out.tell(message.room, &fan_out.forms.new_message(message), None);
        fan_out.peers.stored(message);
    }
    sent
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
