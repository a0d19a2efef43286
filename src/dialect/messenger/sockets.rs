//! The open sockets of this process, one for each user, and what is sent to them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Something for a socket.
#[derive(Clone, Debug)]
pub struct Live {
    pub frame: Bytes,
    /// The message in the frame, and its sender.
    pub message: Option<(i64, i64)>,
}

/// Why a socket is to be closed although its client does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ousted {
    /// Its user has opened another.
    Replaced,
    /// It reads too slowly.
    Slow,
    /// Its user is not active any more.
    Inactive,
}

/// The socket of a user, among all.
#[derive(Debug)]
struct Entry {
    number: u64,
    inbox: mpsc::Sender<Live>,
    why: Arc<OnceLock<Ousted>>,
}

/// A socket's own end: what is for it, and why it ended.
pub struct Inbox {
    user: i64,
    number: u64,
    waiting: mpsc::Receiver<Live>,
    why: Arc<OnceLock<Ousted>>,
    sockets: Arc<Sockets>,
}

/// The sockets.
#[derive(Debug, Default)]
pub struct Sockets(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    by_user: HashMap<i64, Entry>,
}

impl Sockets {
    /// Adds the socket of a user; another of the same user is ousted. At most `most` frames wait for
    /// it.
    pub fn open(self: &Arc<Self>, user: i64, most: usize) -> Inbox {
        let (inbox, waiting) = mpsc::channel(most);
        let why = Arc::new(OnceLock::new());
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        let entry = Entry {
            number,
            inbox,
            why: Arc::clone(&why),
        };
        if let Some(before) = open.by_user.insert(user, entry) {
            let _ = before.why.set(Ousted::Replaced);
        }
        drop(open);
        Inbox {
            user,
            number,
            waiting,
            why,
            sockets: Arc::clone(self),
        }
    }

    /// Sends something to the socket of a user. Returns whether there is one here that takes it.
    pub fn send(&self, user: i64, live: Live) -> bool {
        let mut open = self.lock();
        let Some(entry) = open.by_user.get(&user) else {
            return false;
        };
        if entry.inbox.try_send(live).is_ok() {
            return true;
        }
        // It is full, as one that has ended takes itself out.
        let _ = entry.why.set(Ousted::Slow);
        open.by_user.remove(&user);
        false
    }

    /// Closes the sockets of these users.
    pub fn oust(&self, users: &[i64]) {
        let mut open = self.lock();
        for user in users {
            if let Some(entry) = open.by_user.remove(user) {
                let _ = entry.why.set(Ousted::Inactive);
            }
        }
    }

    /// Returns the users who have a socket here.
    #[must_use]
    pub fn users(&self) -> Vec<i64> {
        self.lock().by_user.keys().copied().collect()
    }

    /// Returns whether this user has a socket here.
    #[must_use]
    pub fn has(&self, user: i64) -> bool {
        self.lock().by_user.contains_key(&user)
    }

    /// Returns the number of sockets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().by_user.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Waits for something; the reason if the socket is to be closed instead. May be cancelled.
    ///
    /// # Errors
    /// Why it is to be closed.
    pub async fn next(&mut self) -> Result<Live, Ousted> {
        match self.waiting.recv().await {
            Some(live) => Ok(live),
            None => Err(self.why.get().copied().unwrap_or(Ousted::Replaced)),
        }
    }

    /// Returns what waits already.
    pub fn ready(&mut self) -> Option<Live> {
        self.waiting.try_recv().ok()
    }

    /// Returns whether another socket of the user has taken its place.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.why.get() == Some(&Ousted::Replaced)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut open = self.sockets.lock();
        let own = open.by_user.get(&self.user);
        if own.is_some_and(|entry| entry.number == self.number) {
            open.by_user.remove(&self.user);
        }
    }
}

/// The numbers that were seen last.
#[derive(Debug)]
pub struct Recent {
    most: usize,
    order: VecDeque<i64>,
    seen: HashSet<i64>,
}

impl Recent {
    /// Remembers this many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Recent {
            most,
            order: VecDeque::new(),
            seen: HashSet::new(),
        }
    }

    /// Returns whether a number is remembered.
    #[must_use]
    pub fn has(&self, number: i64) -> bool {
        self.seen.contains(&number)
    }

    /// Forgets a number.
    pub fn forget(&mut self, number: i64) {
        if self.seen.remove(&number) {
            self.order.retain(|it| *it != number);
        }
    }

    /// Notes a number; returns whether it is new.
    pub fn note(&mut self, number: i64) -> bool {
        if !self.seen.insert(number) {
            return false;
        }
        self.order.push_back(number);
        if self.order.len() > self.most
            && let Some(first) = self.order.pop_front()
        {
            self.seen.remove(&first);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(text: &'static str) -> Live {
        Live {
            frame: Bytes::from_static(text.as_bytes()),
            message: None,
        }
    }

    #[tokio::test]
    async fn a_second_socket_of_a_user_ousts_the_first() {
        let sockets = Arc::new(Sockets::default());
        let mut first = sockets.open(1, 4);
        let mut second = sockets.open(1, 4);
        assert!(sockets.send(1, live("a")));
        assert_eq!(first.next().await.err(), Some(Ousted::Replaced));
        assert_eq!(second.next().await.unwrap().frame, "a");
        drop(first);
        assert!(sockets.has(1), "the first takes only itself out");
        drop(second);
        assert!(!sockets.has(1));
    }

    #[tokio::test]
    async fn a_socket_that_does_not_read_is_ousted_after_what_it_was_sent() {
        let sockets = Arc::new(Sockets::default());
        let mut inbox = sockets.open(1, 1);
        assert!(sockets.send(1, live("a")));
        assert!(!sockets.send(1, live("b")));
        assert_eq!(inbox.next().await.unwrap().frame, "a");
        assert_eq!(inbox.next().await.err(), Some(Ousted::Slow));
        assert!(!sockets.send(2, live("c")), "no socket");
    }

    #[test]
    fn a_number_is_new_until_many_others_came() {
        let mut recent = Recent::new(2);
        assert!(recent.note(1) && !recent.note(1));
        assert!(recent.note(2) && recent.note(3));
        assert!(recent.note(1), "forgotten");
        assert!(!recent.note(3));
        recent.forget(3);
        assert!(!recent.has(3) && recent.note(3));
    }
}
