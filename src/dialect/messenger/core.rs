//! The use cases, and who hears of them.
//!
//! A message is committed first. Then, in the order of their ids, messages are given to the sockets
//! of this process and published for the others. A message counts as delivered to a member once his
//! socket has taken it; until then it waits in the table. Each process looks there now and then for
//! what its own users have missed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, interval, sleep};

use super::{
    database::{Changed, MessengerDatabase, NewMessage, Sent},
    peers::{EDITS, Entry, Outgoing, Peers, chat_of},
    records::{Edit, Message, json_frame},
    sockets::{Live, Recent, Sockets},
};
use crate::{
    accounts::{passwords::Passwords, tokens::Tokens},
    layer::redis::side::Heard,
    store::{
        StoreError,
        batch::{Batch, together},
    },
    vital::Vital,
};

/// Between two looks for messages that users of this process have missed.
const SWEEP: Duration = Duration::from_secs(5);

/// Between two renewals of what says that users are online.
const RENEW: Duration = Duration::from_secs(25);

/// Ids of messages that are remembered, to know them again when they come back by Redis.
const ECHOES: usize = 4096;

/// Chats whose members are remembered.
const CHATS: usize = 10_000;

/// Attempts to note deliveries while the database is away, and the time between two. A message whose
/// delivery is not noted comes a second time.
const ATTEMPTS: usize = 40;
const AGAIN: Duration = Duration::from_millis(500);

/// Everything that the operations and the sockets share.
pub struct Core {
    pub database: Arc<MessengerDatabase>,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub fan_out: Arc<FanOut>,
    sends: Batch<NewMessage, Option<Sent>>,
    /// Message and user; `None` waits for those before it.
    deliveries: Batch<Option<(i64, i64)>, ()>,
}

/// Hands messages to sockets and peers.
pub struct FanOut {
    pub sockets: Arc<Sockets>,
    pub peers: Arc<Peers>,
    /// Those that went out from here. Held for moments only.
    echoes: Mutex<Recent>,
    /// Members never change. Held for moments only.
    members: Mutex<HashMap<i64, Arc<[i64]>>>,
}

impl Core {
    /// Starts the tasks that write.
    #[must_use]
    pub fn start(
        database: MessengerDatabase,
        tokens: Tokens,
        peers: Peers,
        vital: &Vital,
    ) -> Arc<Self> {
        let database = Arc::new(database);
        let fan_out = Arc::new(FanOut {
            sockets: Arc::default(),
            peers: Arc::new(peers),
            echoes: Mutex::new(Recent::new(ECHOES)),
            members: Mutex::default(),
        });
        let (stored, heard) = (Arc::clone(&database), Arc::clone(&fan_out));
        let send = move |all: Vec<NewMessage>| {
            let (database, fan_out) = (Arc::clone(&stored), Arc::clone(&heard));
            Box::pin(async move { send_all(&database, &fan_out, all).await }) as _
        };
        let delivered = Arc::clone(&database);
        let note = move |all: Vec<Option<(i64, i64)>>| {
            let database = Arc::clone(&delivered);
            Box::pin(async move { note_all(&database, &all).await }) as _
        };
        Arc::new(Core {
            sends: Batch::start(vital, "messenger messages", Box::new(send)),
            deliveries: Batch::start(vital, "messenger deliveries", Box::new(note)),
            database,
            passwords: Passwords::new(),
            tokens,
            fan_out,
        })
    }

    /// Stores a message and hands it on; `None` if the sender is no member of the chat.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn send(&self, new: NewMessage) -> Result<Option<Message>, StoreError> {
        let sent = self.sends.write(new).await?;
        Ok(sent.map(|sent| sent.message))
    }

    /// Changes a message of a user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn edit(
        &self,
        (message, user): (i64, i64),
        content: &str,
    ) -> Result<Changed<Edit>, StoreError> {
        self.database.edit((message, user), content).await
    }

    /// Tells all members of an edit.
    pub async fn tell_edit(&self, edit: &Edit) {
        self.fan_out.peers.tell_edit(edit);
        self.hand_edit(edit.chat_id, &json_frame(&edit.live()))
            .await;
    }

    /// Notes that a message was delivered to a user. Waits while the database is slow.
    pub async fn delivered(&self, message: i64, user: i64) {
        // At the end of the process it comes again.
        let _ = self.deliveries.post(Some((message, user))).await;
    }

    /// Waits until the deliveries so far are noted: what waits for a user is known then.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn deliveries_are_noted(&self) -> Result<(), StoreError> {
        self.deliveries.write(None).await
    }

    /// Hands what other processes publish to the sockets here, until the process ends.
    pub async fn hear(&self, mut heard: tokio::sync::mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            match heard {
                // What was published before has to be looked for.
                Heard::Subscribed => self.sweep().await,
                Heard::Message(channel, payload) if channel == EDITS => {
                    if let Some((chat, edit)) = self.fan_out.peers.read_edit(&payload) {
                        self.hand_edit(chat, &json_frame(&edit)).await;
                    }
                }
                Heard::Message(channel, payload) => {
                    if let (Some(chat), Some(entry)) = (chat_of(&channel), Entry::read(&payload)) {
                        self.hand_entry(chat, &entry).await;
                    }
                }
            }
        }
    }

    /// Looks after the users of this process, until it ends: they are online, they miss nothing, and
    /// who is not active any more is not among them. `recheck` is the time between two looks at the
    /// last; none if it is zero.
    pub async fn look_after(&self, recheck: Duration) {
        let (mut sweep, mut renew) = (interval(SWEEP), interval(RENEW));
        let mut checked = Instant::now();
        loop {
            tokio::select! {
                _ = sweep.tick() => {
                    self.sweep().await;
                    if !recheck.is_zero() && checked.elapsed() >= recheck {
                        checked = Instant::now();
                        self.recheck().await;
                    }
                }
                _ = renew.tick() => {
                    let users = self.fan_out.sockets.users();
                    if let Err(error) = self.fan_out.peers.are_online(&users).await {
                        tracing::debug!(%error, "who is online is not noted in Redis");
                    }
                }
            }
        }
    }

    /// Sends what waits for peers, until the process ends.
    pub async fn send_to_peers(&self, outgoing: Outgoing) {
        let sockets = &self.fan_out.sockets;
        self.fan_out
            .peers
            .run(outgoing, |user| sockets.has(user))
            .await;
    }

    /// Has all that was accepted stored.
    pub async fn close(&self) {
        self.sends.close().await;
        self.deliveries.close().await;
        self.database.close();
    }

    /// Hands messages to users of this process who should have had them seconds ago.
    async fn sweep(&self) {
        let users = self.fan_out.sockets.users();
        if users.is_empty() {
            return;
        }
        match self.database.overdue(users).await {
            Ok(overdue) => {
                for (user, message) in overdue {
                    self.fan_out.sockets.send(user, live(&message));
                }
            }
            Err(error) => tracing::warn!(%error, "messages that were missed are not looked for"),
        }
    }

    async fn recheck(&self) {
        let mut users = self.fan_out.sockets.users();
        match self.database.active(users.clone()).await {
            Ok(active) => {
                users.retain(|user| !active.contains(user));
                self.fan_out.sockets.oust(&users);
            }
            Err(error) => tracing::warn!(%error, "rights of open sockets are not looked at"),
        }
    }

    /// Hands a message that another process has published to the members here.
    async fn hand_entry(&self, chat: i64, entry: &Entry) {
        let Some((id, _)) = entry.message else { return };
        if self.fan_out.sockets.count() == 0 || !self.fan_out.is_new(id) {
            return;
        }
        let live = Live {
            frame: json_frame(&entry.value),
            message: entry.message,
        };
        for &user in self.members(chat).await.iter() {
            self.fan_out.sockets.send(user, live.clone());
        }
    }

    async fn hand_edit(&self, chat: i64, frame: &bytes::Bytes) {
        for &user in self.members(chat).await.iter() {
            let live = Live {
                frame: frame.clone(),
                message: None,
            };
            self.fan_out.sockets.send(user, live);
        }
    }

    /// Returns the members of a chat; none if the database does not answer: what they miss is found
    /// by the next look.
    async fn members(&self, chat: i64) -> Arc<[i64]> {
        if let Some(members) = lock(&self.fan_out.members).get(&chat) {
            return Arc::clone(members);
        }
        match self.database.members(chat).await {
            Ok(members) => self.fan_out.remember(chat, &members),
            Err(error) => {
                tracing::warn!(%error, "members of a chat are not known");
                Arc::default()
            }
        }
    }
}

impl FanOut {
    /// Hands a message that was stored here to everybody.
    fn tell(&self, sent: &Sent) {
        let Sent { message, members } = sent;
        self.is_new(message.id);
        self.remember(message.chat_id, members);
        let live = live(message);
        let away = members.iter().copied();
        let away: Vec<i64> = away
            .filter(|user| !self.sockets.send(*user, live.clone()))
            .collect();
        self.peers.tell(message, &away);
    }

    fn is_new(&self, id: i64) -> bool {
        lock(&self.echoes).note(id)
    }

    fn remember(&self, chat: i64, members: &[i64]) -> Arc<[i64]> {
        let mut known = lock(&self.members);
        if known.len() >= CHATS {
            known.clear();
        }
        let members = known.entry(chat).or_insert_with(|| members.into());
        Arc::clone(members)
    }
}

/// Makes what sockets are sent of a message.
#[must_use]
pub fn live(message: &Message) -> Live {
    Live {
        frame: json_frame(&message.live()),
        message: Some((message.id, message.sender_id)),
    }
}

/// Stores messages and hands them on in their order.
async fn send_all(
    database: &MessengerDatabase,
    fan_out: &FanOut,
    all: Vec<NewMessage>,
) -> Vec<Result<Option<Sent>, StoreError>> {
    let sent = together(database, &all).await;
    let mut stored: Vec<&Sent> = sent.iter().flatten().flatten().collect();
    stored.sort_by_key(|sent| sent.message.id);
    for sent in stored {
        fan_out.tell(sent);
    }
    sent
}

async fn note_all(
    database: &MessengerDatabase,
    all: &[Option<(i64, i64)>],
) -> Vec<Result<(), StoreError>> {
    let delivered: Vec<_> = all.iter().copied().flatten().collect();
    for attempt in 1..=ATTEMPTS {
        if delivered.is_empty() {
            break;
        }
        match database.delivered(&delivered).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS => {
                tracing::warn!(%error, "deliveries are not noted: messages come a second time");
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
    all.iter().map(|_| Ok(())).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
