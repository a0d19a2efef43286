//! The net below: what is stored is compared with what was shown, now and then.
//!
//! Every message that a socket should be shown has an event, and every event that may have been lost
//! is made up for by its sender or found by a repair. What no event came for all the same (a process
//! that died before it could send, a Django that could not broadcast what it stored, a cause that
//! nobody thought of) is found here, shown once it is [`AGE`] old, and counted apart: it should not
//! have happened.
//!
//! One query for [`TOGETHER`] conversations asks for the ids of what was stored since the last look;
//! only a conversation that lacks one is read. Conversations in which nothing was said for a minute
//! are looked at in every sixth round. A query that finds more than [`MOST`] ids leaves the rest: that
//! much in one round is not compared, and counted.
//!
//! Messages that Chatferry stores without an event (those sent by REST, which the original does not
//! broadcast) are no fault: the process that stores one tells the others within a second that it is
//! unannounced. Nothing tells that of a message that Django stored by REST.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::{Hub, repair::TOGETHER, room::Room, shown::before};
use crate::{
    django::datetime::Timestamp,
    layer::control::Control,
    store::{StoreError, history::Pages},
};

/// How old a message is before it counts as missed: older than anything that is under way.
const AGE: Duration = Duration::from_secs(8);

/// How far before the last look is read: clocks of other machines.
const MARGIN: Duration = Duration::from_secs(2);

/// The furthest that a look reaches back: what was shown is remembered for longer.
const REACH: Duration = Duration::from_secs(80);

/// Quiet conversations are looked at in one of so many rounds.
const ROUNDS: usize = 6;

/// Most ids that one query finds.
const MOST: usize = 5000;

/// Most ids in one telling.
const TOLD_TOGETHER: usize = 500;

impl Hub {
    /// Tells other processes of messages that were stored without an event, until the process ends.
    pub async fn tell_unannounced(self: Arc<Self>) {
        loop {
            let untold = self.unannounced.untold().await;
            for some in untold.chunks(TOLD_TOGETHER) {
                // What the layer cannot take now it owes.
                let _ = self
                    .layer
                    .send_control(&Control::Unannounced(some.to_vec()))
                    .await;
            }
        }
    }

    /// Compares with the store every so often, until the process ends.
    pub async fn sweep(self: Arc<Self>, every: Duration) {
        let mut round = 0;
        loop {
            sleep(every).await;
            round = (round + 1) % ROUNDS;
            self.sweep_once(round, Timestamp::now()).await;
        }
    }

    pub(super) async fn sweep_once(&self, round: usize, now: Timestamp) {
        let (mut lively, mut quiet) = (Vec::new(), Vec::new());
        for (id, room) in self.all_rooms() {
            let swept = room.swept();
            if room.held_for().is_some() {
                // Its repair reads more than this.
            } else if room.is_lively() {
                lively.push((id, room, swept));
            } else if id.as_u128() % ROUNDS as u128 == round as u128 {
                quiet.push((id, room, swept));
            }
        }
        for some in lively.chunks(TOGETHER).chain(quiet.chunks(TOGETHER)) {
            if let Err(error) = self.compare(some, now).await {
                tracing::debug!(%error, "conversations could not be compared with the store");
            }
        }
    }

    async fn compare(
        &self,
        some: &[(Uuid, Arc<Room>, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = some.iter().map(|(id, ..)| *id).collect();
        let until = before(now, AGE);
        let swept = some.iter().map(|(.., swept)| before(*swept, MARGIN)).min();
        let since = swept.unwrap_or(until).max(before(now, REACH));
        let stored = self
            .store
            .stored_between(&ids, (since, until), MOST)
            .await?;
        let is_whole = stored.len() < MOST;
        if !is_whole {
            self.metrics.sweep_cut_short();
        }
        let mut missed: HashSet<Uuid> = HashSet::new();
        for (conversation, message) in stored {
            let room = some.iter().find(|(id, ..)| *id == conversation);
            let is_missed = room.is_some_and(|(_, room, _)| !room.has_shown(message));
            if is_missed && !self.unannounced.contains(message) {
                missed.insert(conversation);
            }
        }
        for (id, room, _) in some {
            if missed.contains(id) && room.held_for().is_none() {
                let pages = Pages::since(&self.store, *id, since);
                let shown = self.show_missed(room, pages, Some(until)).await?;
                if shown > 0 {
                    tracing::error!(conversation_id = %id, messages = shown, "no event came for messages");
                    self.metrics.messages_unheard(shown);
                }
            }
            if is_whole {
                room.is_swept(until);
            }
        }
        Ok(())
    }
}
