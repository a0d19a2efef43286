//! One conversation with sockets in this process: who is in it, and what they have been told.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    chat::{Event, Message},
    django::datetime::Timestamp,
    value::Value,
    ws::queue::{Overflow, Queue},
};

/// How long it is remembered that a message has been delivered: longer than the layer can keep an
/// event on its way, so that nothing is shown twice.
const MEMORY: Duration = Duration::from_secs(90);

/// Most deliveries that are remembered. Past it a repair shows some messages again rather than
/// taking more memory.
const REMEMBERED: usize = 100_000;

/// At least so many of the newest messages of a history are known to have been shown: many more
/// than a layer and its inbox keep on their way.
const SEEN: usize = 4096;

/// A conversation with sockets in this process.
pub struct Room {
    pub group: String,
    /// Whether the layer counts this process as a member. Held while the layer is asked, so that
    /// joining and leaving never overtake each other.
    pub joined: tokio::sync::Mutex<bool>,
    /// Held for moments only, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    delivered: Delivered,
}

/// A socket in a room.
pub struct Member {
    number: u64,
    queue: Arc<Queue>,
    /// `None` for most: nothing was said just before they came.
    seen: Option<Box<Seen>>,
}

/// Recent messages of a socket's history: they may still be on their way through the layer.
#[derive(Default)]
struct Seen {
    /// At most [`SEEN`].
    young: HashSet<Uuid>,
    old: HashSet<Uuid>,
}

impl Seen {
    fn note(&mut self, id: Uuid) {
        if self.young.len() == SEEN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }

    fn contains(&self, id: &Uuid) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }
}

impl Member {
    pub fn new(number: u64, queue: Arc<Queue>) -> Self {
        Member {
            number,
            queue,
            seen: None,
        }
    }

    fn has_seen(&self, id: &Uuid) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(id))
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// So many queues took it,
    pub sockets: usize,
    /// of which the longest holds so many frames now,
    pub longest: usize,
    /// and so many overflowed.
    pub overflowed: usize,
}

/// Messages delivered lately, the oldest first.
#[derive(Default)]
struct Delivered {
    order: VecDeque<(Instant, Uuid)>,
    ids: HashSet<Uuid>,
}

impl Delivered {
    /// Notes a delivery, and forgets old ones unless told to `keep` them; `false` if it was noted
    /// before.
    fn note(&mut self, id: Uuid, now: Instant, keep: bool) -> bool {
        while let Some(&(at, old)) = self.order.front() {
            let is_recent = keep || now.duration_since(at) < MEMORY;
            if is_recent && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.ids.remove(&old);
        }
        let is_new = self.ids.insert(id);
        if is_new {
            self.order.push_back((now, id));
        }
        is_new
    }
}

impl Room {
    pub fn new(group: String) -> Self {
        Room {
            group,
            joined: tokio::sync::Mutex::new(false),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, member: Member) {
        self.state().members.push(member);
    }

    /// Returns whether that was the last one.
    pub fn leave(&self, number: u64) -> bool {
        let mut state = self.state();
        state.members.retain(|member| member.number != number);
        state.members.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.state().members.is_empty()
    }

    /// Notes what a socket is shown by its history, the oldest first, so that it is not told of it
    /// live as well: neither again later (only what is recent can come again), nor when it already
    /// waits in its queue.
    pub fn is_shown(&self, number: u64, messages: &[Message]) {
        let memory = i64::try_from(MEMORY.as_micros()).unwrap_or(i64::MAX);
        let recent = Timestamp::from_micros(Timestamp::now().micros().saturating_sub(memory));
        let mut state = self.state();
        let Some(member) = state.members.iter_mut().find(|m| m.number == number) else {
            return;
        };
        for message in messages {
            if message.created_at >= recent {
                member.seen.get_or_insert_default().note(message.id);
            }
        }
        let ids = || messages.iter().map(|message| message.id).collect();
        member.queue.withdraw(ids);
    }

    /// Queues a frame for every member, a message only once and for those that have not seen it.
    /// While a gap is open (`keep`) nothing is forgotten.
    pub fn deliver(&self, message: Option<Uuid>, frame: &Bytes, keep: bool) -> Delivery {
        let mut delivery = Delivery::default();
        let mut state = self.state();
        let State { members, delivered } = &mut *state;
        if message.is_some_and(|id| !delivered.note(id, Instant::now(), keep)) {
            return delivery;
        }
        for member in members {
            if message.is_some_and(|id| member.has_seen(&id)) {
                continue;
            }
            match member.queue.push(frame.clone(), message) {
                // It overflowed before, and will be closed.
                Ok(0) => {}
                Ok(waiting) => {
                    delivery.sockets += 1;
                    delivery.longest = delivery.longest.max(waiting);
                }
                Err(Overflow) => delivery.overflowed += 1,
            }
        }
        delivery
    }
}

/// The id of the message that an event tells of.
pub fn message_id(event: &Event) -> Option<Uuid> {
    let Event::ChatMessage { message } = event else {
        return None;
    };
    Uuid::try_parse(message.get("id").and_then(Value::as_str)?).ok()
}
