//! The sockets of each user, for news that are the user's own: of groups that no socket is in yet.
//!
//! A notice names the users. Nothing of it is stored, and one that is lost is made up for by the list
//! of conversations, which clients read when they come back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Hub, delivery::Delivery, event_type, frames::EventFrames, queue::Queue};
use crate::{chat::Event, id::ConversationId, layer::control::Membership};

/// Queues of the sockets here whose users are known.
#[derive(Default)]
pub struct Audience {
    /// Held for moments only.
    queues: Mutex<HashMap<Arc<str>, Vec<Arc<Queue>>>>,
}

/// A socket that gets news of its user. Dropped, it gets none.
pub struct Listener {
    audience: Arc<Audience>,
    user: Arc<str>,
    queue: Arc<Queue>,
}

impl Audience {
    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Arc<Queue>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, user: &str) -> Vec<Arc<Queue>> {
        self.queues().get(user).cloned().unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut queues = self.audience.queues();
        if let Some(own) = queues.get_mut(&self.user) {
            own.retain(|it| !Arc::ptr_eq(it, &self.queue));
            if own.is_empty() {
                queues.remove(&self.user);
            }
        }
    }
}

impl Hub {
    /// Sends news of a user to this socket, until what is returned is dropped.
    #[must_use]
    pub fn listen(&self, user: &str, queue: &Arc<Queue>) -> Listener {
        let user: Arc<str> = user.into();
        let mut queues = self.audience.queues();
        let own = queues.entry(Arc::clone(&user)).or_default();
        own.push(Arc::clone(queue));
        drop(queues);
        Listener {
            audience: Arc::clone(&self.audience),
            user,
            queue: Arc::clone(queue),
        }
    }

    /// Shows users that they have become members of a group, or are none any more.
    pub(super) fn show_membership(&self, membership: &Membership) {
        let Membership {
            conversation,
            joined,
            gone,
        } = membership;
        for user in joined {
            self.show_member(*conversation, user, true);
        }
        for user in gone {
            self.show_member(*conversation, user, false);
        }
    }

    fn show_member(&self, conversation: ConversationId, user: &str, is_member: bool) {
        let queues = self.audience.of(user);
        if queues.is_empty() {
            return;
        }
        let event = Event::Membership {
            user_id: user.into(),
            is_member,
        };
        let frames = EventFrames::new(&self.encoders, conversation, &event, true);
        let mut delivery = Delivery::new(false);
        for queue in queues {
            delivery.push(&queue, &frames, None);
        }
        self.count(event_type(&event), delivery);
    }
}
