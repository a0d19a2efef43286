//! Who is connected to this process: conversation → the queues of its sockets.
//!
//! The process is one member of a conversation's group however many sockets it has: it joins with
//! the first and leaves after the last. An event is encoded once and its bytes are shared by every
//! queue; a queue that overflows costs its own socket and nobody else.
//!
//! Nothing stored is shown twice or left out: a socket is not told live of a message that stands in
//! its history (nor in a page of it that is read later), and after a gap in the layer `repair`
//! reads again what was said meanwhile.

mod repair;
mod room;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use uuid::Uuid;

use self::room::{Delivery, Member, Room};
use crate::{
    chat::{Event, Message},
    django::datetime::Zone,
    layer::{ChannelLayer, LayerError, Received},
    metrics::{EventType, Metrics},
    store::Store,
    ws::queue::Queue,
};

/// Makes the frame of an event.
pub type Encode = fn(&Event) -> Bytes;

/// The sockets of this process.
pub struct Hub {
    layer: Arc<dyn ChannelLayer>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// Zone of the times in repaired messages.
    zone: Zone,
    encode: Encode,
    next_member: AtomicU64,
    /// Whether a gap is open: nothing that is delivered may be forgotten before it is repaired.
    away: AtomicBool,
    /// Conversations with at least one socket here. Held for moments only.
    rooms: Mutex<HashMap<Uuid, Arc<Room>>>,
}

/// A socket's place in a conversation; dropping it leaves.
pub struct Membership {
    hub: Arc<Hub>,
    conversation_id: Uuid,
    room: Arc<Room>,
    number: u64,
}

impl Membership {
    /// The socket's history shows it these messages, which are the next in it. It will not be told
    /// of them live, even if it was about to be.
    pub fn is_shown(&self, messages: &[Message]) {
        self.room.is_shown(self.number, messages);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.room.leave(self.number) {
            return;
        }
        // Without a runtime the whole process is on its way out.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (hub, room) = (Arc::clone(&self.hub), Arc::clone(&self.room));
            let conversation_id = self.conversation_id;
            runtime.spawn(async move { hub.leave_if_empty(conversation_id, room).await });
        }
    }
}

impl Hub {
    pub fn new(
        layer: Arc<dyn ChannelLayer>,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        zone: Zone,
        encode: Encode,
    ) -> Self {
        Hub {
            layer,
            store,
            metrics,
            zone,
            encode,
            next_member: AtomicU64::new(0),
            away: AtomicBool::new(false),
            rooms: Mutex::default(),
        }
    }

    /// Adds a socket's queue to a conversation. When this returns, the socket misses nothing that
    /// is sent to `group` from now on.
    ///
    /// # Errors
    /// When the layer does not take the process as a member.
    pub async fn join(
        self: &Arc<Self>,
        conversation_id: Uuid,
        group: String,
        queue: Arc<Queue>,
    ) -> Result<Membership, LayerError> {
        let number = self.next_member.fetch_add(1, Ordering::Relaxed);
        let room = {
            let mut rooms = self.rooms();
            let room = rooms
                .entry(conversation_id)
                .or_insert_with(|| Arc::new(Room::new(group)));
            // Under the lock of the map: a room that is being taken away cannot be joined.
            room.enter(Member::new(number, queue));
            Arc::clone(room)
        };
        let membership = Membership {
            hub: Arc::clone(self),
            conversation_id,
            room,
            number,
        };
        let mut joined = membership.room.joined.lock().await;
        if !*joined {
            let channel = self.channel(conversation_id);
            self.layer
                .group_add(&membership.room.group, &channel)
                .await?;
            *joined = true;
        }
        drop(joined);
        Ok(membership)
    }

    async fn leave_if_empty(&self, conversation_id: Uuid, room: Arc<Room>) {
        let mut joined = room.joined.lock().await;
        if !room.is_empty() {
            return;
        }
        if *joined {
            let channel = self.channel(conversation_id);
            if let Err(error) = self.layer.group_discard(&room.group, &channel).await {
                tracing::warn!(%conversation_id, %error, "could not leave the group");
            }
            *joined = false;
        }
        let mut rooms = self.rooms();
        let is_this = rooms
            .get(&conversation_id)
            .is_some_and(|found| Arc::ptr_eq(found, &room));
        if is_this && room.is_empty() {
            rooms.remove(&conversation_id);
        }
    }

    /// Hands every event of the layer to the sockets it is for, until the layer is closed.
    pub async fn run(&self) {
        while let Some(received) = self.layer.receive().await {
            match received {
                Received::Event { local, event, sent } => {
                    self.metrics.layer_received();
                    let room = Uuid::try_parse(&local).ok().and_then(|id| self.room(id));
                    if let Some(room) = room
                        && self.deliver(&room, &event)
                        && let Some(sent) = sent
                    {
                        self.metrics.layer_lag(sent.by, sent.age_s());
                    }
                }
                Received::Away => self.away.store(true, Ordering::Relaxed),
                Received::Gap { since } => {
                    self.metrics.layer_gap();
                    self.repair(since).await;
                    self.away.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether there was a socket to deliver to.
    fn deliver(&self, room: &Room, event: &Event) -> bool {
        let away = self.away.load(Ordering::Relaxed);
        let delivery = room.deliver(room::message_id(event), &(self.encode)(event), away);
        let Delivery {
            sockets,
            longest,
            overflowed,
        } = delivery;
        self.metrics.delivered(event_type(event), sockets, longest);
        self.metrics.slow_consumers(overflowed);
        sockets > 0
    }

    /// The channel of this process for a conversation. Its local name is the conversation's id,
    /// which is how an event that comes back is known to be for it.
    fn channel(&self, conversation_id: Uuid) -> String {
        self.layer.channel(&conversation_id.simple().to_string())
    }

    fn room(&self, conversation_id: Uuid) -> Option<Arc<Room>> {
        self.rooms().get(&conversation_id).map(Arc::clone)
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the metrics call an event.
fn event_type(event: &Event) -> EventType {
    match event {
        Event::ChatMessage { .. } => EventType::ChatMessage,
        Event::MessageRead { .. } => EventType::MessageRead,
        Event::TypingStatus { .. } => EventType::TypingStatus,
        Event::Other(_) => EventType::Other,
    }
}

#[cfg(test)]
mod tests;
