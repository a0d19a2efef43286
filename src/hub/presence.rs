//! Users who are online: they have a socket of a client that shows who is, here or at another process.
//!
//! Each process tells the others of its users by the control group: at once of those who come, after
//! [`GRACE`](state::GRACE) of those who leave and have not come back, and of all of them every [`REFRESH`](state::REFRESH). What is
//! told counts for [`LEASE`](state::LEASE), so that the users of a process that dies leave with it. Nothing of
//! this is owed when Redis cannot be reached, nor stored.
//!
//! A conversation is told of its own participants only, once a second at most, and of no more than
//! [`TOGETHER`](state::TOGETHER) users in that time: in a storm of reconnects the rest is told later, and who has come back
//! by then is not told of at all. Without a client that shows presence the process has no timer here
//! and remembers nothing.

mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use uuid::Uuid;

use self::state::PresenceState;
use super::{Hub, room::Room};
use crate::{
    chat::{Event, Group},
    id::ConversationId,
    layer::control::{Control, Online},
};

/// Time between two looks at what has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Most users in one telling.
const TOLD_TOGETHER: usize = 500;

/// The users who are online.
pub struct Presence {
    /// Id of this process.
    process: String,
    /// Held for moments only.
    state: Mutex<PresenceState>,
    /// Notified when there is something to do after there was nothing.
    news: Notify,
}

/// A user's socket here. Dropped, the socket has gone.
pub struct Arrival {
    presence: Arc<Presence>,
    user: Arc<str>,
}

/// A client that shows who is online in a conversation. Dropped, it no longer does.
pub struct Watch {
    presence: Arc<Presence>,
    conversation_id: ConversationId,
}

impl Default for Presence {
    fn default() -> Self {
        Presence {
            process: Uuid::new_v4().simple().to_string(),
            state: Mutex::default(),
            news: Notify::new(),
        }
    }
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, PresenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(self: &Arc<Self>, user: &str) -> Arrival {
        let user: Arc<str> = user.into();
        self.state().arrive(&user);
        self.news.notify_one();
        Arrival {
            presence: Arc::clone(self),
            user,
        }
    }

    /// Returns the watch, and those of the users who are online.
    fn watch(
        self: &Arc<Self>,
        conversation_id: ConversationId,
        users: &[String],
    ) -> (Watch, Vec<Arc<str>>) {
        let online = self.state().watch(conversation_id, users);
        self.news.notify_one();
        let watch = Watch {
            presence: Arc::clone(self),
            conversation_id,
        };
        (watch, online)
    }

    /// Notes what a process tells; its own words come back to it.
    pub(super) fn hear(&self, online: Online) {
        if online.process != self.process {
            self.state().hear(online, Instant::now());
            self.news.notify_one();
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.presence.state().leave(&self.user, Instant::now());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.presence.state().unwatch(self.conversation_id);
    }
}

impl Hub {
    /// Notes that a user has a socket here, until what is returned is dropped.
    #[must_use]
    pub fn arrive(&self, user: &str) -> Arrival {
        self.presence.arrive(user)
    }

    /// Lets the sockets of a conversation be told which of these users are online, until what is
    /// returned is dropped. Returns those who are.
    #[must_use]
    pub fn watch(
        &self,
        conversation_id: ConversationId,
        users: &[String],
    ) -> (Watch, Vec<Arc<str>>) {
        self.presence.watch(conversation_id, users)
    }

    /// Shows the sockets of a group who of its new members is online, and no longer those who are none
    /// any more.
    pub(super) fn show_present(&self, room: &Room, group: &Group) {
        let news = self.presence.state().regroup(room.id, &group.users());
        if !news.is_empty() {
            self.deliver(room, &Event::Presence(news), None);
        }
    }

    /// Tells the sockets here and the other processes who comes and leaves, until the process ends.
    pub(super) async fn show_presence(self: Arc<Self>) {
        loop {
            let is_idle = self.presence.state().is_idle();
            if is_idle {
                self.presence.news.notified().await;
            }
            self.look_at_presence(Instant::now());
            sleep(LOOK).await;
        }
    }

    fn look_at_presence(&self, now: Instant) {
        let mut state = self.presence.state();
        let gone = state.expire(now);
        let told = state.take_told(now);
        let asks = std::mem::take(&mut state.asks);
        let news = state.take_news();
        drop(state);
        if asks {
            self.tell_presence(&[], &[], true);
        }
        for users in told.chunks(TOLD_TOGETHER) {
            self.tell_presence(users, &[], false);
        }
        for users in gone.chunks(TOLD_TOGETHER) {
            self.tell_presence(&[], users, false);
        }
        for (id, users) in news {
            if let Some(room) = self.room(id) {
                self.deliver(&room, &Event::Presence(users), None);
            }
        }
    }

    fn tell_presence(&self, users: &[Arc<str>], gone: &[Arc<str>], asks: bool) {
        let texts = |users: &[Arc<str>]| users.iter().map(ToString::to_string).collect();
        let online = Online {
            process: self.presence.process.clone(),
            users: texts(users),
            gone: texts(gone),
            asks,
        };
        drop(self.layer.send_control(&Control::Online(online)));
    }
}
