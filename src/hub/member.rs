//! The sockets in a conversation, and what its history has shown each.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::shown::{MEMORY, ShownKey, key_of};
use crate::{
    chat::Message,
    hub::queue::Queue,
    id::MessageId,
    python::datetime::{Timestamp, before},
};

/// Number of the newest messages of a history that are known to have been shown: many more
/// than a layer and its inbox keep on their way.
const SEEN: usize = 4096;

/// Number of the newest of these of which more is known until the client speaks.
const SAID: usize = 64;

/// The sockets of a room.
#[derive(Default)]
pub struct RoomMembers {
    /// By their numbers, which grow.
    list: Vec<Member>,
    /// Number of the next one.
    next: u64,
}

/// A socket in a room.
pub struct Member {
    /// Its number in the room.
    number: u64,
    pub queue: Arc<Queue>,
    /// Since when it hears everything; nothing until the layer has taken the process as a member.
    joined: Option<Timestamp>,
    /// `None` for most: nothing was said just before they came.
    seen: Option<Box<SeenMessages>>,
}

/// Recent messages of a socket's history: they may still be on their way through the layer.
#[derive(Default)]
struct SeenMessages {
    /// At most [`SEEN`].
    young: HashSet<ShownKey>,
    old: HashSet<ShownKey>,
    /// The newest until the client speaks, at most [`SAID`].
    said: VecDeque<Said>,
}

/// A message of a history.
struct Said {
    id: MessageId,
    created_at: Timestamp,
    /// Hash of the sender's id.
    sender: ShownKey,
}

impl SeenMessages {
    fn note(&mut self, message: &Message) {
        if self.young.len() == SEEN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(message.id.bits());
        if self.said.len() == SAID {
            self.said.pop_front();
        }
        self.said.push_back(Said {
            id: message.id,
            created_at: message.created_at,
            sender: key_of(&message.sender_id),
        });
    }

    fn contains(&self, key: ShownKey) -> bool {
        self.young.contains(&key) || self.old.contains(&key)
    }

    fn remove(&mut self, key: ShownKey) -> bool {
        self.young.remove(&key) || self.old.remove(&key)
    }
}

impl RoomMembers {
    /// Adds a socket; returns its number.
    pub fn enter(&mut self, queue: Arc<Queue>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.list.push(Member::new(number, queue));
        number
    }

    /// Removes a socket. A room of thousands may close at once, so none is looked for one by one.
    pub fn leave(&mut self, number: u64) -> Option<Member> {
        let place = self.place(number).ok()?;
        Some(self.list.remove(place))
    }

    pub fn get(&mut self, number: u64) -> Option<&mut Member> {
        let place = self.place(number).ok()?;
        self.list.get_mut(place)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.list.iter_mut()
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        self.list.binary_search_by_key(&number, |it| it.number)
    }
}

impl Member {
    fn new(number: u64, queue: Arc<Queue>) -> Self {
        Member {
            number,
            queue,
            joined: None,
            seen: None,
        }
    }

    /// Notes that it hears everything from `now` on. Its history is read after that.
    pub fn hears_all(&mut self, now: Timestamp) {
        self.joined.get_or_insert(now);
    }

    /// Returns whether it has received its history: until then nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.joined.is_some() && self.queue.has_history()
    }

    /// Returns whether a message of this time may have come with an event after it joined. What was
    /// stored long before is in its history.
    pub fn is_concerned(&self, created_at: Timestamp) -> bool {
        self.joined
            .is_some_and(|joined| created_at >= before(joined, MEMORY))
    }

    /// Returns whether something of this time came after it joined. There is no history of read
    /// marks, and those from before are not owed to it: it may be shown newer ones first.
    pub fn awaits(&self, made_at: Timestamp) -> bool {
        self.joined.is_some_and(|joined| made_at >= joined)
    }

    /// Notes a message of its history, whose event may still come.
    pub fn note_seen(&mut self, message: &Message) {
        self.seen.get_or_insert_default().note(message);
    }

    /// Takes out what its history showed of one sender. The rest is forgotten.
    pub fn take_said(&mut self, sender: &str) -> impl Iterator<Item = (MessageId, Timestamp)> {
        let seen = self.seen.as_mut();
        let said = seen.map(|seen| std::mem::take(&mut seen.said));
        let sender = key_of(&sender);
        let said = said.into_iter().flatten();
        said.filter(move |it| it.sender == sender)
            .map(|it| (it.id, it.created_at))
    }

    pub fn has_seen(&self, key: ShownKey) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(key))
    }

    /// Returns whether its history showed this message, whose event comes now and will not come
    /// again.
    pub fn had_seen(&mut self, key: ShownKey) -> bool {
        self.seen.as_mut().is_some_and(|seen| seen.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::queue::QueueLimits;

    #[test]
    fn each_member_is_found_until_it_leaves() {
        let limits = QueueLimits {
            frames: 1,
            bytes: 1,
        };
        let mut members = RoomMembers::default();
        let queues: Vec<_> = (0..100).map(|_| Arc::new(Queue::new(limits))).collect();
        let numbers: Vec<u64> = queues
            .iter()
            .map(|queue| members.enter(Arc::clone(queue)))
            .collect();
        // Every seventh leaves first, and one comes between two that leave.
        for place in (0..100).map(|it| it * 7 % 100) {
            let member = members.get(numbers[place]).unwrap();
            assert!(Arc::ptr_eq(&member.queue, &queues[place]));
            members.leave(numbers[place]);
            assert!(members.get(numbers[place]).is_none());
            let last = members.enter(Arc::clone(&queues[place]));
            assert!(Arc::ptr_eq(
                &members.get(last).unwrap().queue,
                &queues[place]
            ));
        }
        assert_eq!(members.iter().count(), 100);
    }
}
