//! The conversations that one socket is in. It is a member of each by the same queue, and its rights
//! to each are looked at again like those of a socket of that conversation alone.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::frames::{PresenceView, ServerFrame, Shown, ended};
use crate::{
    app::App,
    auth::sockets::{OpenSocket, Registration},
    chat::{Message, policy::Caller},
    hub::{
        Listener, Membership,
        presence::{Arrival, Watch},
        queue::Queue,
    },
    id::ConversationId,
    limits::Meter,
    metrics::Metrics,
    service::ChatError,
    ws::{
        entry,
        protocol::{Guest, Place},
    },
};

/// A socket's place in a conversation. Dropped, it leaves.
pub struct Subscription {
    pub membership: Membership,
    registration: Registration,
    _watch: Watch,
}

impl Subscription {
    fn has_ended(&self) -> bool {
        self.registration.socket().has_ended()
    }
}

/// The conversations that a socket is in.
pub struct Subscriptions {
    socket: Arc<OpenSocket>,
    queue: Arc<Queue>,
    /// Of the client, whose rows are counted.
    pub meter: Meter,
    metrics: Arc<Metrics>,
    /// Most of them.
    most: usize,
    /// Held for moments only, never across an await.
    open: Mutex<HashMap<ConversationId, Arc<Subscription>>>,
    /// Of the user, once that is known. Held for moments only.
    arrival: Mutex<Option<(Arrival, Listener)>>,
}

/// Why a conversation was not entered.
pub enum NotEntered {
    /// The socket is in as many as it may be.
    Full,
    Failed(ChatError),
}

impl<E: Into<ChatError>> From<E> for NotEntered {
    fn from(error: E) -> Self {
        NotEntered::Failed(error.into())
    }
}

impl Subscriptions {
    /// Makes the place of a client that is in no conversation yet, and may be in `most`.
    #[must_use]
    pub fn new(app: &App, guest: &Guest<'_>, most: usize) -> Self {
        let user = guest.registration.socket().user.clone();
        Subscriptions {
            socket: Arc::clone(guest.registration.socket()),
            queue: Arc::clone(guest.queue),
            meter: guest.meter.clone(),
            metrics: Arc::clone(&app.metrics),
            most,
            open: Mutex::default(),
            arrival: Mutex::new(user.as_deref().map(|user| arrive(app, user, guest.queue))),
        }
    }

    /// Returns the user that opened the socket, if users are identified.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.socket.user.as_deref()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ConversationId, Arc<Subscription>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the socket's place in a conversation, if it is in it and has the right to be.
    #[must_use]
    pub fn get(&self, id: ConversationId) -> Option<Arc<Subscription>> {
        self.open().get(&id).filter(|it| !it.has_ended()).cloned()
    }

    /// Enters a conversation, unless the socket is in it. From now on it misses nothing there.
    ///
    /// # Errors
    /// When there are too many, the policy does not admit the user, or the layer cannot be asked.
    pub async fn enter(
        &self,
        app: &App,
        caller: &Caller,
        id: ConversationId,
    ) -> Result<Arc<Subscription>, NotEntered> {
        if let Some(subscription) = self.get(id) {
            return Ok(subscription);
        }
        if self.open().len() >= self.most {
            return Err(NotEntered::Full);
        }
        // First registered, then looked at: what ends its rights in between is not missed.
        let registration = app.auth.register_part(id, &self.socket);
        let joined =
            entry::join((&app.chat_with_groups, &app.hub), caller, id, &self.queue).await?;
        let (membership, participants) = joined;
        let (watch, online) = app.hub.watch(id, participants.as_slice());
        let subscription = Arc::new(Subscription {
            membership,
            registration,
            _watch: watch,
        });
        self.open().insert(id, Arc::clone(&subscription));
        self.show_online(id, &online);
        Ok(subscription)
    }

    /// Tells the client who is online in a conversation.
    fn show_online(&self, id: ConversationId, online: &[Arc<str>]) {
        if online.is_empty() {
            return;
        }
        let users = online
            .iter()
            .map(|user| PresenceView { user, online: true });
        let frame = ServerFrame::Presence {
            conversation: Shown(id),
            users: users.collect(),
        };
        self.send(frame.frame());
    }

    /// Notes that this user has a socket; the first that is named stays.
    pub fn arrive(&self, app: &App, user: &str) {
        let arrival = &mut *self.arrival.lock().unwrap_or_else(PoisonError::into_inner);
        arrival.get_or_insert_with(|| arrive(app, user, &self.queue));
    }

    /// Leaves a conversation. Returns whether the socket was in it.
    pub fn leave(&self, id: ConversationId) -> bool {
        self.open().remove(&id).is_some()
    }

    /// Sends the client a frame, in the order of the events.
    pub fn send(&self, frame: Bytes) {
        if self.queue.push(frame, None).is_err() {
            self.metrics.slow_consumers(1);
        }
    }

    /// Leaves the conversations to which the socket's rights have ended, and says so.
    fn leave_ended(&self) {
        let is_over = |_: &ConversationId, it: &mut Arc<Subscription>| it.has_ended();
        let left: Vec<_> = self.open().extract_if(is_over).collect();
        for (id, _) in left {
            let frame = ServerFrame::Unsubscribed {
                reference: None,
                conversation: Shown(id),
                code: Some(ended(id)),
            };
            self.send(frame.frame());
        }
    }
}

/// Notes that a user has a socket, which gets the user's own news.
fn arrive(app: &App, user: &str, queue: &Arc<Queue>) -> (Arrival, Listener) {
    (app.hub.arrive(user), app.hub.listen(user, queue))
}

impl Place for Subscriptions {
    // A page is noted where it is read.
    fn is_shown(&self, _: &[Message]) {}

    async fn attend(&self) {
        loop {
            let mut over = pin!(self.socket.woken());
            // From here on no end is missed.
            over.as_mut().enable();
            self.leave_ended();
            over.await;
        }
    }
}
