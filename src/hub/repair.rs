//! After a gap in the layer: the store is the truth, and tells what was said meanwhile.
//!
//! The layer tells when events may have been lost (Redis restarted, failed over or was flushed,
//! connections were killed, an inbox overran) and since when. Every conversation with sockets here
//! in which something was said is then read again from a little before that time, page by page, and
//! what was not delivered yet is, once and in the order of the history.
//!
//! What can still be missed: typing and read marks, which are not messages. A lost typing mark is
//! stale anyway; read marks can be asked of nobody, as the original has no way to list them. A
//! message that was sent by REST during the gap is shown too, although the original never
//! broadcasts those: nothing in the store tells the two apart, and showing it is the lesser harm.

use std::time::Duration;

use uuid::Uuid;

use super::{Hub, room::Room};
use crate::{
    chat::Event,
    django::datetime::Timestamp,
    serializers,
    store::{StoreError, history::Pages},
};

/// How far before the gap is read: clocks of other machines, and commits that took their time.
const MARGIN: Duration = Duration::from_secs(10);

/// Conversations of which one query tells whether anything was said in them.
const TOGETHER: usize = 200;

/// How long to wait before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

impl Hub {
    /// Delivers what was stored since `since` and has not been delivered. Events that come in
    /// meanwhile wait, so that the order holds.
    pub(super) async fn repair(&self, since: Timestamp) {
        let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(since.micros().saturating_sub(margin));
        let live: Vec<Uuid> = self.rooms().keys().copied().collect();
        tracing::info!(
            conversations = live.len(),
            "repairing a gap in the channel layer"
        );
        for conversations in live.chunks(TOGETHER) {
            self.repair_some(conversations, since).await;
        }
    }

    async fn repair_some(&self, conversations: &[Uuid], since: Timestamp) {
        let spoken_in = loop {
            match self.store.spoken_in(conversations, since).await {
                Ok(found) => break found,
                Err(error) => wait(&error).await,
            }
        };
        for conversation_id in spoken_in {
            if let Some(room) = self.room(conversation_id) {
                let pages = Pages::since(&self.store, conversation_id, since);
                self.repair_room(&room, pages).await;
            }
        }
    }

    async fn repair_room(&self, room: &Room, mut pages: Pages) {
        loop {
            match pages.next().await {
                Ok(Some(messages)) => {
                    for message in messages {
                        let body = serializers::message(&message, &self.zone);
                        if self.deliver(room, &Event::ChatMessage { message: body }) {
                            self.metrics.message_repaired();
                        }
                    }
                }
                Ok(None) => return,
                Err(error) => wait(&error).await,
            }
        }
    }
}

async fn wait(error: &StoreError) {
    tracing::warn!(%error, "the repair waits for the store");
    tokio::time::sleep(PAUSE).await;
}
