//! Clients that come from another process: what they said there comes first.
//!
//! A client may have left a process that is cut from Redis and owes what the client said there, and come
//! to this one. Nothing here is wrong, and what the client says next would be shown at once. But it has
//! received its history, which shows what it said. If no event has come for that when the client
//! speaks, the other processes are notified ahead of what it says ([`Follows`]). Each process of which a
//! socket lacks one of these messages lets the conversation wait, and reads the store.
//!
//! **Young messages.** The event of a message that was stored a moment ago is on its way, or the
//! message was stored without an event on purpose, and the notice of that is. So the store is read when
//! everything has come, or is [`OVERDUE`].
//!
//! **Cost.** Nothing for a socket whose history shows nothing of the last 90 s without an event. A client
//! that comes back to a conversation without other sockets here, and speaks within 90 s of what it said
//! last, costs one event of the control group, and nothing in the processes that have shown it all.
//!
//! Only what the sender of the message itself said before counts, as the order of each sender is
//! promised. What a client said that has not been committed when its new history is read is not found.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Hub, room::Room};
use crate::{
    id::{ConversationId, MessageId},
    layer::control::{Control, Follows},
    python::datetime::{Timestamp, after},
};

/// Age at which a message whose event has not come is overdue. By then other processes have sent notice of
/// what is stored without an event.
const OVERDUE: Duration = Duration::from_millis(1500);

/// Time between two looks whether everything has come.
const LOOK: Duration = Duration::from_millis(20);

impl Hub {
    /// Notifies the other processes that a client which has said these messages, by id and time, is about
    /// to speak here. No event of them has come.
    pub(super) fn precede(
        self: &Arc<Self>,
        conversation: ConversationId,
        room: &Arc<Room>,
        mut said: Vec<(MessageId, Timestamp)>,
    ) {
        said.retain(|(id, _)| !self.unannounced.contains(*id));
        let times = || said.iter().map(|(_, created_at)| *created_at);
        let (Some(since), Some(until)) = (times().min(), times().max()) else {
            return;
        };
        if !self.sweeps {
            return;
        }
        let follows = Follows {
            conversation,
            messages: said.into_iter().map(|(id, _)| id).collect(),
            since,
            until,
        };
        // The layer owes what it cannot take now.
        let control = Control::Follows(follows.clone());
        drop(self.layer.send_ahead(&room.group, since, &control));
        self.follow(room, follows);
    }

    /// Lets events wait until these messages have come or been read, if a socket here lacks one.
    pub(super) fn follow(self: &Arc<Self>, room: &Arc<Room>, follows: Follows) {
        let Follows {
            mut messages,
            since,
            until,
            ..
        } = follows;
        messages.retain(|id| !room.has_shown(*id) && !self.unannounced.contains(*id));
        if messages.is_empty() || !self.sweeps {
            return;
        }
        tracing::debug!(
            group = room.group,
            messages = messages.len(),
            "a conversation waits for what a client said elsewhere"
        );
        room.wait(since, || self.metrics.repair_open());
        let (hub, room) = (Arc::clone(self), Arc::clone(room));
        let left = after(until, OVERDUE)
            .micros()
            .saturating_sub(self.now().micros());
        let left = Duration::from_micros(u64::try_from(left).unwrap_or(0)).min(OVERDUE);
        self.vital.spawn("repair", async move {
            let due = Instant::now() + left;
            let waits = |id: &MessageId| !room.has_come(*id) && !hub.unannounced.contains(*id);
            while Instant::now() < due && messages.iter().any(waits) {
                sleep(LOOK).await;
            }
            room.read_held(since);
            hub.missed.notify_one();
        });
    }
}
