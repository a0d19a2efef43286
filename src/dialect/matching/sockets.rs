//! The open sockets of this process, by room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Most sockets of a room in one process: `WS_MAX_CONNECTIONS_PER_ROOM`.
const ROOM_MAX: usize = 50;

/// Why a socket is to be closed although its client does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ousted {
    /// Its user has left the room.
    Left,
    /// It reads too slowly.
    Slow,
    /// Its user has no right to the room any more.
    Refused,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    user: Arc<str>,
    inbox: mpsc::Sender<Bytes>,
    why: Arc<OnceLock<Ousted>>,
}

/// A socket's own end: what is for it, and why it ended.
pub struct Inbox {
    room: Uuid,
    number: u64,
    waiting: mpsc::Receiver<Bytes>,
    why: Arc<OnceLock<Ousted>>,
    sockets: Arc<Sockets>,
}

/// The sockets.
#[derive(Debug, Default)]
pub struct Sockets(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    rooms: HashMap<Uuid, Vec<Entry>>,
}

impl Sockets {
    /// Adds the socket of a user in a room; `None` if the room is full. At most `most` frames wait for
    /// it.
    pub fn open(self: &Arc<Self>, room: Uuid, user: &Arc<str>, most: usize) -> Option<Inbox> {
        let (inbox, waiting) = mpsc::channel(most);
        let why = Arc::new(OnceLock::new());
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        let entries = open.rooms.entry(room).or_default();
        if entries.len() >= ROOM_MAX {
            return None;
        }
        entries.push(Entry {
            number,
            user: Arc::clone(user),
            inbox,
            why: Arc::clone(&why),
        });
        drop(open);
        Some(Inbox {
            room,
            number,
            waiting,
            why,
            sockets: Arc::clone(self),
        })
    }

    /// Sends a frame to the sockets of a room, but not to those of `but`.
    pub fn send(&self, room: Uuid, frame: &Bytes, but: Option<&str>) {
        let mut open = self.lock();
        let Some(entries) = open.rooms.get_mut(&room) else {
            return;
        };
        entries.retain(|entry| {
            let is_left_out = but.is_some_and(|but| *entry.user == *but);
            if is_left_out || entry.inbox.try_send(frame.clone()).is_ok() {
                return true;
            }
            let _ = entry.why.set(Ousted::Slow);
            false
        });
    }

    /// Closes the sockets of a user in a room.
    pub fn oust(&self, room: Uuid, user: &str, why: Ousted) {
        let mut open = self.lock();
        if let Some(entries) = open.rooms.get_mut(&room) {
            entries.retain(|entry| {
                let stays = *entry.user != *user;
                if !stays {
                    let _ = entry.why.set(why);
                }
                stays
            });
        }
    }

    /// Returns the rooms with sockets here.
    #[must_use]
    pub fn rooms(&self) -> Vec<Uuid> {
        self.lock().rooms.keys().copied().collect()
    }

    /// Returns whether a room has sockets here.
    #[must_use]
    pub fn has(&self, room: Uuid) -> bool {
        self.lock().rooms.contains_key(&room)
    }

    /// Returns the places of all sockets: room and user of each.
    #[must_use]
    pub fn places(&self) -> Vec<(Uuid, String)> {
        let open = self.lock();
        let of_room = |(room, entries): (&Uuid, &Vec<Entry>)| {
            let room = *room;
            let users: Vec<_> = entries
                .iter()
                .map(|it| (room, it.user.to_string()))
                .collect();
            users
        };
        open.rooms.iter().flat_map(of_room).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Waits for a frame; the reason if the socket is to be closed instead. May be cancelled.
    ///
    /// # Errors
    /// Why it is to be closed.
    pub async fn next(&mut self) -> Result<Bytes, Ousted> {
        match self.waiting.recv().await {
            Some(frame) => Ok(frame),
            None => Err(self.why.get().copied().unwrap_or(Ousted::Left)),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut open = self.sockets.lock();
        if let Some(entries) = open.rooms.get_mut(&self.room) {
            entries.retain(|entry| entry.number != self.number);
            if entries.is_empty() {
                open.rooms.remove(&self.room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Uuid = Uuid::nil();

    #[tokio::test]
    async fn a_frame_goes_to_all_of_a_room_but_its_own_user() {
        let sockets = Arc::new(Sockets::default());
        let (ann, ben): (Arc<str>, Arc<str>) = ("ann".into(), "ben".into());
        let mut first = sockets.open(ROOM, &ann, 4).unwrap();
        let mut second = sockets.open(ROOM, &ben, 4).unwrap();
        sockets.send(ROOM, &Bytes::from_static(b"a"), Some("ann"));
        sockets.send(ROOM, &Bytes::from_static(b"b"), None);
        assert_eq!(first.next().await.unwrap(), "b");
        assert_eq!(second.next().await.unwrap(), "a");
        sockets.oust(ROOM, "ben", Ousted::Left);
        assert_eq!(second.next().await.unwrap(), "b");
        assert_eq!(second.next().await, Err(Ousted::Left));
        drop((first, second));
        assert!(!sockets.has(ROOM));
    }

    #[test]
    fn a_room_takes_fifty_sockets() {
        let sockets = Arc::new(Sockets::default());
        let user: Arc<str> = "ann".into();
        let open = || sockets.open(ROOM, &user, 1);
        let all: Vec<_> = (0..ROOM_MAX).map(|_| open().unwrap()).collect();
        assert!(open().is_none());
        drop(all);
        assert!(open().is_some());
    }
}
