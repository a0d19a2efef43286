//! The sockets of this process: conversation → the queues of its sockets.
//!
//! The process is one member of a conversation's group however many sockets it has: it joins with
//! the first and leaves after the last. An event is encoded once and its bytes are shared by every
//! queue; a queue that overflows costs its own socket alone.
//!
//! Nothing stored is shown twice or left out: a socket does not get live a message that stands in
//! its history (nor in a page of it that is read later), after a gap in the layer `repair` reads
//! again what was said and (`marks`) read meanwhile, and `sweep` finds what no event came for.
//! Later changes of messages, and of groups, are in `changes`; news for one user, whatever the user's
//! sockets are in, in `audience`.
//! `shown` is the memory of what the sockets have been shown.

mod audience;
pub mod changes;
mod delivery;
mod follow;
pub mod frames;
mod hold;
mod marks;
mod member;
pub mod presence;
pub mod queue;
mod repair;
mod room;
mod shown;
mod sweep;
mod told;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

pub use self::audience::Listener;
use self::{
    audience::Audience,
    changes::Changes,
    delivery::Delivery,
    frames::{Encode, EventFrames},
    presence::Presence,
    room::Room,
    told::Told,
};
use crate::{
    chat::{Event, Group, Message},
    clock::Clock,
    hub::queue::Queue,
    id::ConversationId,
    layer::{
        CONTROL, ChannelLayer, LayerError, Received,
        control::{Control, Delivered, Disconnect, is_control},
        unannounced::Unannounced,
    },
    metrics::{EventType, Metrics},
    python::datetime::Timestamp,
    store::Store,
    vital::Vital,
};

/// Does what an order to disconnect says.
pub type OnDisconnect = Box<dyn Fn(&Disconnect) + Send + Sync>;

/// Ends the rights to a group of sockets whose users are none of its members.
pub type OnGroup = Box<dyn Fn(&Group) + Send + Sync>;

/// No gap is open.
const NEVER: i64 = i64::MAX;

/// The sockets of this process.
pub struct Hub {
    layer: Arc<dyn ChannelLayer>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// Those of the dialects that are mounted, in their order.
    encoders: Vec<Encode>,
    /// Since when a gap is open, in microseconds, or [`NEVER`]: nothing that is delivered may be
    /// forgotten before it is repaired.
    away: AtomicI64,
    /// Conversations with at least one socket here. Held for moments only.
    rooms: Mutex<HashMap<ConversationId, Arc<Room>>>,
    /// Notified when conversations have missed something.
    missed: Notify,
    changes: Arc<Changes>,
    presence: Arc<Presence>,
    audience: Arc<Audience>,
    /// True if conversations are compared with the store.
    sweeps: bool,
    unannounced: Arc<Unannounced>,
    /// The clock that rows are dated by.
    clock: Arc<Clock>,
    vital: Vital,
}

/// A socket's place in a conversation; dropping it leaves.
pub struct Membership {
    hub: Arc<Hub>,
    conversation_id: ConversationId,
    room: Arc<Room>,
    number: u64,
    /// True if its history showed what no event had, and its client has said nothing since.
    may_precede: AtomicBool,
}

impl Membership {
    /// Notes that the socket's history shows these messages, which are the next in it. They are not
    /// sent to it live, even if they were about to be.
    pub fn is_shown(&self, messages: &[Message]) {
        if self.room.is_shown(self.number, messages) {
            self.may_precede.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the conversation.
    #[must_use]
    pub fn conversation_id(&self) -> ConversationId {
        self.conversation_id
    }

    /// Returns whether what the client says next may have to wait, which [`speaks`](Self::speaks) finds
    /// out.
    pub fn may_precede(&self) -> bool {
        self.may_precede.load(Ordering::Relaxed)
    }

    /// Lets what its history showed this user to have said come first: the client is about to say
    /// something. The history is then forgotten.
    pub fn speaks(&self, user: &str) {
        self.may_precede.store(false, Ordering::Relaxed);
        let said = self.room.take_unheard(self.number, user);
        self.hub.precede(self.conversation_id, &self.room, said);
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
        encoders: Vec<Encode>,
        sweeps: bool,
        vital: Vital,
    ) -> Self {
        Hub {
            clock: Arc::clone(store.committer().clock()),
            layer,
            store,
            metrics,
            encoders,
            away: AtomicI64::new(NEVER),
            rooms: Mutex::default(),
            missed: Notify::new(),
            changes: Arc::default(),
            presence: Arc::default(),
            audience: Arc::default(),
            sweeps,
            unannounced: Arc::new(Unannounced::new(sweeps)),
            vital,
        }
    }

    /// Returns the messages that are stored without an event, on purpose.
    #[must_use]
    pub fn unannounced(&self) -> &Arc<Unannounced> {
        &self.unannounced
    }

    /// Returns where changes of messages are noted that are made here.
    #[must_use]
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Joins the group of Chatferry's processes, and starts what this process cannot do without.
    /// Conversations are compared with the store `every` so often; never if that is 0.
    ///
    /// # Errors
    /// When the layer does not take the process as a member.
    pub async fn start(
        self: &Arc<Self>,
        every: Duration,
        disconnect: OnDisconnect,
        keep_members: OnGroup,
    ) -> Result<(), LayerError> {
        self.layer.join_control().await?;
        let hub = Arc::clone(self);
        self.vital
            .spawn("delivery", async move { hub.run(disconnect).await });
        self.vital.spawn("repairs", Arc::clone(self).repair());
        let presence = Arc::clone(self).show_presence();
        self.vital.spawn("presence", presence);
        if self.store.keeps_changes() {
            let changes = Arc::clone(self).show_changes(keep_members);
            self.vital.spawn("changes", changes);
        }
        if self.sweeps {
            self.vital.spawn("sweep", Arc::clone(self).sweep(every));
            self.vital
                .spawn("unannounced", Arc::clone(self).tell_unannounced());
        }
        Ok(())
    }

    /// Adds a socket's queue to a conversation. When this returns, the socket misses nothing that
    /// is sent to `group` from now on.
    ///
    /// # Errors
    /// When the layer does not take the process as a member.
    pub async fn join(
        self: &Arc<Self>,
        conversation_id: ConversationId,
        group: String,
        queue: Arc<Queue>,
    ) -> Result<Membership, LayerError> {
        let (room, number) = {
            let mut rooms = self.rooms();
            let room = rooms.entry(conversation_id).or_insert_with(|| {
                Arc::new(Room::new(conversation_id, group, Arc::clone(&self.clock)))
            });
            // Under the lock of the map: a room that is being taken away cannot be joined.
            let number = room.enter(queue);
            (Arc::clone(room), number)
        };
        let membership = Membership {
            hub: Arc::clone(self),
            conversation_id,
            room,
            number,
            may_precede: AtomicBool::new(false),
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
        membership.room.hears_all(number);
        Ok(membership)
    }

    async fn leave_if_empty(&self, conversation_id: ConversationId, room: Arc<Room>) {
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
    pub async fn run(self: &Arc<Self>, disconnect: OnDisconnect) {
        while let Some(received) = self.layer.receive().await {
            match received {
                Received::Event { local, event, .. } if local == CONTROL => {
                    self.order(&event, &disconnect);
                }
                Received::Event { event, .. } if is_control(&event) => {}
                Received::Event {
                    local,
                    event,
                    sent,
                    resent,
                } => {
                    self.metrics.layer_received();
                    let room = local.parse().ok().and_then(|id| self.room(id));
                    if let Some(room) = room
                        && self.deliver(&room, &event, resent)
                        && let Some(sent) = sent
                    {
                        self.metrics.layer_lag(sent.by, sent.age_s());
                    }
                }
                Received::Away { since } => {
                    self.away.fetch_min(since.micros(), Ordering::Relaxed);
                }
                Received::Returning => self.await_gap(),
                Received::Gap { since } => {
                    tracing::info!("events may have been missed: repairing the gap");
                    self.metrics.layer_gap();
                    self.gap(since);
                    self.away.store(NEVER, Ordering::Relaxed);
                }
            }
        }
    }

    /// Does what another process of Chatferry says, or Django.
    fn order(self: &Arc<Self>, event: &Event, disconnect: &OnDisconnect) {
        match Control::read(event) {
            Some(Control::Disconnect(order)) => disconnect(&order),
            Some(Control::ReadAgain(notice)) => self.read_again(&notice),
            Some(Control::Unannounced(ids)) => self.unannounced.hear(ids),
            Some(Control::Changed(changed)) => {
                if let Some(room) = self.room(changed.conversation) {
                    self.look_for_changes(&room, changed.at);
                }
            }
            Some(Control::Delivered(delivered)) => self.delivered(delivered),
            Some(Control::Membership(membership)) => self.show_membership(&membership),
            Some(Control::Online(online)) => self.presence.hear(online),
            Some(Control::Follows(follows)) => {
                if let Some(room) = self.room(follows.conversation) {
                    self.follow(&room, follows);
                }
            }
            None => {}
        }
    }

    /// Shows that a client has got messages. No other event stands for it, and none is made up for:
    /// the receipts are in the store.
    fn delivered(&self, delivered: Delivered) {
        let room = self.room(delivered.conversation);
        let Some(room) = room.filter(|room| room.others_speak()) else {
            return;
        };
        let event = Event::Delivered {
            user_id: delivered.user,
            messages: delivered.messages,
        };
        self.deliver(&room, &event, None);
    }

    fn frames(&self, room: &Room, event: &Event) -> EventFrames {
        EventFrames::new(&self.encoders, room.id, event, room.others_speak())
    }

    /// Returns whether there was a socket to deliver to.
    fn deliver(&self, room: &Room, event: &Event, resent: Option<Timestamp>) -> bool {
        let told = Told::new(event, self.frames(room, event), resent);
        let away = self.away.load(Ordering::Relaxed);
        if away != NEVER && told.key.is_some() && self.layer.may_miss(&room.group) {
            self.read_first(room, Timestamp::from_micros(away));
        }
        // With more to come, frames are better gathered by the sockets' own tasks.
        let delivery = room.deliver(told, away != NEVER, !self.layer.has_more());
        self.count(event_type(event), delivery);
        delivery.sockets > 0
    }

    fn count(&self, kind: EventType, delivery: Delivery) {
        let Delivery {
            sockets,
            longest,
            overflowed,
            mut written,
            ..
        } = delivery;
        self.metrics.frames_out(&mut written);
        self.metrics.delivered(kind, sockets, longest);
        self.metrics.slow_consumers(overflowed);
    }

    fn now(&self) -> Timestamp {
        Timestamp::by(&self.clock)
    }

    /// Returns whether nothing that was shown may be forgotten: a gap is open.
    fn keeps(&self) -> bool {
        self.away.load(Ordering::Relaxed) != NEVER
    }

    /// Returns the channel of this process for a conversation. Its local name is the conversation's
    /// id, which is how an event that comes back is known to be for it.
    fn channel(&self, conversation_id: ConversationId) -> String {
        self.layer.channel(&conversation_id.0.short())
    }

    fn room(&self, conversation_id: ConversationId) -> Option<Arc<Room>> {
        self.rooms().get(&conversation_id).map(Arc::clone)
    }

    fn all_rooms(&self) -> Vec<(ConversationId, Arc<Room>)> {
        let rooms = self.rooms();
        let all = rooms.iter().map(|(id, room)| (*id, Arc::clone(room)));
        all.collect()
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<ConversationId, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the name of an event in the metrics.
fn event_type(event: &Event) -> EventType {
    match event {
        Event::MessageSent(_) => EventType::ChatMessage,
        Event::MessageRead { .. } => EventType::MessageRead,
        Event::Typing { .. } => EventType::TypingStatus,
        Event::MessageChanged { .. }
        | Event::GroupChanged { .. }
        | Event::Membership { .. }
        | Event::Delivered { .. }
        | Event::Presence(_)
        | Event::Foreign(_)
        | Event::Packed(_) => EventType::Other,
    }
}

#[cfg(test)]
mod tests;
