//! The open sockets of this process, those that Django serves among them, and whose they are. A
//! socket is admitted once, when it opens; here its rights end before it does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, futures::Notified};

use super::Admission;
use crate::{
    id::ConversationId,
    {chat::policy::Caller, config::Secret, layer::control::Disconnect},
};

/// Why the rights of a socket have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its session has ended, or its token was taken back.
    Unknown,
    /// The policy no longer admits its user, or it was disconnected by an order.
    Refused,
}

/// All of them.
#[derive(Default)]
pub struct OpenSockets {
    /// Held for moments only, never across an await.
    open: Mutex<HashMap<u64, Arc<OpenSocket>>>,
    next: AtomicU64,
}

/// A socket that is open, or about to be.
pub struct OpenSocket {
    /// The conversation that it is in for life, if it is in one; its rights end with those to it.
    pub conversation_id: Option<ConversationId>,
    /// It is the part of a socket that is in this conversation beside others.
    is_part: bool,
    pub caller: Caller,
    /// The user that opened it; `None` if users are not identified.
    pub user: Option<Arc<str>>,
    /// The cookie of the session it was opened with.
    pub session: Option<Secret>,
    /// The `jti` of the last token it has shown. Held for moments only.
    token_id: Mutex<Option<Arc<str>>>,
    ended: OnceLock<Ended>,
    /// Wakes those who wait for `ended`. Shared by a socket and its parts.
    over: Arc<Notify>,
}

/// A place among the open sockets; given up when this is dropped.
pub struct Registration {
    sockets: Arc<OpenSockets>,
    number: u64,
    socket: Arc<OpenSocket>,
}

impl OpenSockets {
    /// Adds a socket that has been admitted. What ends its rights from now on is not missed.
    pub fn register(
        self: &Arc<Self>,
        conversation_id: Option<ConversationId>,
        of: &Admission,
    ) -> Registration {
        self.add(OpenSocket {
            conversation_id,
            is_part: false,
            caller: of.caller.clone(),
            user: of.user.clone(),
            session: of.session.clone(),
            token_id: Mutex::new(of.token_id.clone()),
            ended: OnceLock::new(),
            over: Arc::default(),
        })
    }

    /// Adds the part of a socket that is in this conversation, beside others. The rights to it may
    /// end alone; those of the socket are its own.
    pub fn register_part(
        self: &Arc<Self>,
        conversation_id: ConversationId,
        of: &OpenSocket,
    ) -> Registration {
        self.add(OpenSocket {
            conversation_id: Some(conversation_id),
            is_part: true,
            caller: of.caller.clone(),
            user: of.user.clone(),
            session: None,
            token_id: Mutex::default(),
            ended: OnceLock::new(),
            over: Arc::clone(&of.over),
        })
    }

    fn add(self: &Arc<Self>, socket: OpenSocket) -> Registration {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let socket = Arc::new(socket);
        self.open().insert(number, Arc::clone(&socket));
        Registration {
            sockets: Arc::clone(self),
            number,
            socket,
        }
    }

    /// Returns the sockets whose users are known, and whose rights can so be looked at again.
    pub fn known(&self) -> Vec<Arc<OpenSocket>> {
        let open = self.open();
        let known = open.values().filter(|socket| socket.user.is_some());
        known.cloned().collect()
    }

    /// Returns the sockets, and parts of sockets, that are in a conversation.
    pub fn within(&self, id: ConversationId) -> Vec<Arc<OpenSocket>> {
        let open = self.open();
        let within = open.values().filter(|it| it.conversation_id == Some(id));
        within.cloned().collect()
    }

    /// Ends the rights of those that an order is for; returns their number. An order that names no
    /// conversation is for whole sockets, whose parts end with them.
    pub fn disconnect(&self, order: &Disconnect) -> usize {
        let open = self.open();
        let meant = open
            .values()
            .filter(|socket| !socket.is_part || order.conversation.is_some())
            .filter(|socket| order.is_for(socket.user.as_deref(), socket.conversation_id));
        meant.map(|socket| socket.end(Ended::Refused)).count()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<OpenSocket>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenSocket {
    /// Ends its rights; the first reason counts.
    pub fn end(&self, why: Ended) {
        let _ = self.ended.set(why);
        self.over.notify_waiters();
    }

    /// Returns whether its rights have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits until the rights of the socket, or of a part of it, end next.
    pub fn woken(&self) -> Notified<'_> {
        self.over.notified()
    }

    /// Returns the `jti` of its token, where tokens may be taken back.
    pub fn token_id(&self) -> Option<Arc<str>> {
        let token_id = self.token_id.lock();
        token_id.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the token that it has shown last.
    pub fn shows(&self, token_id: Option<Arc<str>>) {
        let mut shown = self.token_id.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = token_id;
    }

    /// Waits until its rights have ended. May be cancelled, and awaited by many.
    pub async fn ended(&self) -> Ended {
        loop {
            let mut over = std::pin::pin!(self.over.notified());
            // From here on no end is missed.
            over.as_mut().enable();
            if let Some(why) = self.ended.get() {
                return *why;
            }
            over.await;
        }
    }
}

impl Registration {
    #[must_use]
    pub fn socket(&self) -> &Arc<OpenSocket> {
        &self.socket
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sockets.open().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn register(
        sockets: &Arc<OpenSockets>,
        user: Option<&str>,
        conversation: u128,
    ) -> Registration {
        let admission = Admission {
            user: user.map(Arc::from),
            ..Admission::default()
        };
        sockets.register(Some(Uuid::from_u128(conversation).into()), &admission)
    }

    fn disconnect(user: Option<&str>, conversation: Option<u128>) -> Disconnect {
        Disconnect {
            user: user.map(str::to_owned),
            conversation: conversation.map(|id| Uuid::from_u128(id).into()),
        }
    }

    #[test]
    fn an_order_is_for_the_sockets_that_match_all_of_it() {
        let sockets = Arc::new(OpenSockets::default());
        let _open = [
            register(&sockets, Some("alice"), 1),
            register(&sockets, Some("alice"), 2),
            register(&sockets, Some("bob"), 1),
            register(&sockets, None, 1),
        ];
        for (user, conversation, expected) in [
            (Some("alice"), None, 2),
            (Some("Alice"), None, 0),
            (None, Some(1), 3),
            (Some("alice"), Some(2), 1),
            (Some("bob"), Some(2), 0),
            (None, None, 0),
        ] {
            let order = disconnect(user, conversation);
            assert_eq!(sockets.disconnect(&order), expected, "{order:?}");
        }
        assert_eq!(sockets.known().len(), 3);
    }

    #[test]
    fn a_socket_of_several_conversations_is_counted_once() {
        let sockets = Arc::new(OpenSockets::default());
        let admission = Admission {
            user: Some("alice".into()),
            ..Admission::default()
        };
        let whole = sockets.register(None, &admission);
        let in_conversation =
            |id| sockets.register_part(Uuid::from_u128(id).into(), whole.socket());
        let parts = [in_conversation(1), in_conversation(2)];
        assert_eq!(sockets.disconnect(&disconnect(None, Some(1))), 1);
        assert!(parts[0].socket().has_ended() && !whole.socket().has_ended());
        assert_eq!(sockets.disconnect(&disconnect(Some("alice"), None)), 1);
        assert!(whole.socket().has_ended() && !parts[1].socket().has_ended());
    }

    #[tokio::test]
    async fn an_end_is_heard_by_all_who_wait_whenever_they_begin() {
        let sockets = Arc::new(OpenSockets::default());
        let registration = register(&sockets, Some("alice"), 1);
        let socket = Arc::clone(registration.socket());
        let waiting = [(); 2].map(|()| {
            let socket = Arc::clone(&socket);
            tokio::spawn(async move { socket.ended().await })
        });
        tokio::task::yield_now().await;
        socket.end(Ended::Unknown);
        socket.end(Ended::Refused);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ended::Unknown);
        }
        assert_eq!(socket.ended().await, Ended::Unknown);
        drop(registration);
        assert_eq!(sockets.disconnect(&disconnect(Some("alice"), None)), 0);
    }
}
