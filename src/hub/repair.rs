//! Repair after a gap: the store is the truth, and has what was said meanwhile.
//!
//! The layer tells when events may have been lost (Redis restarted, failed over or was flushed,
//! connections were killed, an inbox overran) and since when; another process tells when it could
//! not send events and does not keep them any longer. Conversations with sockets here in which
//! something was said or read are then read again from a little before that time, page by page, and
//! what was not shown yet is, once and in the order of the history; the read marks (`marks`)
//! follow, which are looked up for many conversations together. What no sweep has compared yet is
//! read too: it may be older, and owed by another process. Messages are read from [`SETTLE_MAX`]
//! before that, if it is remembered what was shown: a process whose commit was not confirmed writes
//! it again for that long, with the times of the first try, and what its clients say then comes
//! after it.
//!
//! **Order.** From before memberships are restored a conversation lets its events wait, and shows
//! them when it has been read: what was missed comes before what is newer. Each waits for its own
//! repair only. While a host cannot be reached, what is said here in conversations of that host
//! waits in the same way until the store has been read: their senders may have said something
//! elsewhere before, and come here since. Where every host can be reached, `follow` finds such senders.
//!
//! **Failures.** Only what can pass is tried again. A row that cannot be read costs itself: it is
//! counted and named in the log. A repair that cannot be done at all is given up with an error in
//! the log; what waited is shown then. How many wait is a metric, and `/readyz` tells of those that
//! do not end.
//!
//! **Memory.** What was shown is remembered for a while (`shown`), and until a repair that has begun
//! is done. If a repair would have to reach back further, it is unknown what its sockets have seen:
//! they are closed, and find everything in the history when they come back.
//!
//! Still missed: typing, which is stale in seconds, and read marks that Django made of messages
//! that were old by then. What Django stored by REST during the gap is shown too, although the
//! original never broadcasts that: nothing in the store tells the two apart, and showing it is the
//! lesser harm.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::sleep};

use super::{
    Hub,
    delivery::Delivery,
    marks::{MOST, Missed, Since},
    room::{Next, Room},
    sweep::{self, AGE, REACH},
};
use crate::{
    chat::{Event, Message},
    id::{ConversationId, MessageId},
    layer::control::Notice,
    metrics::EventType,
    python::datetime::{Timestamp, before},
    store::{StoreError, commit::SETTLE_MAX, history::Pages},
};

/// Time before the gap that is read too: clocks of other machines, and slow commits.
const MARGIN: Duration = Duration::from_secs(10);

/// Conversations of which one query tells whether anything was said in them.
pub(super) const TOGETHER: usize = 200;

/// Conversations that are read at once.
const AT_ONCE: usize = 8;

/// Pause before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The least time between two looks at all conversations: gaps may follow each other closely.
const BETWEEN: Duration = Duration::from_millis(200);

/// A conversation that waits for its repair for longer makes the process not ready.
const TOO_LONG: Duration = Duration::from_secs(60);

impl Hub {
    /// Memberships are about to be restored.
    pub(super) fn await_gap(&self) {
        for (_, room) in self.all_rooms() {
            room.await_gap(|| self.metrics.repair_open());
        }
    }

    /// Events may have been missed since then.
    pub(super) fn gap(&self, since: Timestamp) {
        for (_, room) in self.all_rooms() {
            room.miss(since, || self.metrics.repair_open());
            self.look_for_changes(&room, self.reads_from(&room, since));
        }
        self.missed.notify_one();
    }

    /// Another process could not send events to the conversation of this group, or to any.
    pub(super) fn read_again(&self, notice: &Notice) {
        tracing::info!(
            group = notice.group,
            "another process could not send events"
        );
        for (_, room) in self.all_rooms() {
            if notice
                .group
                .as_ref()
                .is_none_or(|group| *group == room.group)
            {
                // Everything that a sweep has compared is shown.
                let since = if self.sweeps {
                    room.swept().max(notice.since)
                } else {
                    notice.since
                };
                room.miss(since, || self.metrics.repair_open());
                self.look_for_changes(&room, self.reads_from(&room, since));
            }
        }
        self.missed.notify_one();
    }

    /// Lets an event wait until the store has been read: a host is away that this conversation's
    /// events come by, and what was missed comes first.
    pub(super) fn read_first(&self, room: &Room, away_since: Timestamp) {
        let since = away_since.max(room.swept());
        room.read_first(since, || self.metrics.repair_open());
        self.missed.notify_one();
    }

    /// From when on the store is read to repair what was missed since then.
    fn reads_from(&self, room: &Room, since: Timestamp) -> Timestamp {
        let from = before(since, MARGIN);
        if !self.sweeps {
            return from;
        }
        let unswept = before(room.swept(), sweep::MARGIN);
        from.min(unswept.max(before(self.now(), REACH)))
    }

    /// Why this process does not keep up, if a repair does not end.
    #[must_use]
    pub fn behind(&self) -> Option<String> {
        let held = self.all_rooms().into_iter();
        let waits: Vec<Duration> = held.filter_map(|(_, room)| room.held_for()).collect();
        let longest = waits.iter().max()?;
        (*longest > TOO_LONG).then(|| {
            let (count, seconds) = (waits.len(), longest.as_secs());
            format!("{count} conversations wait for their repair, for {seconds} s by now")
        })
    }

    /// Repairs what is missed, until the process ends.
    pub async fn repair(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            self.missed.notified().await;
            let began = Instant::now();
            while !self.look(&places).await {
                sleep(PAUSE).await;
            }
            sleep(BETWEEN.saturating_sub(began.elapsed())).await;
        }
    }

    /// Begins the repairs of all conversations that have missed something. Returns whether the
    /// store could tell of all.
    async fn look(self: &Arc<Self>, places: &Arc<Semaphore>) -> bool {
        let mut missing = Vec::new();
        for (id, room) in self.all_rooms() {
            if let Some(since) = room.take_over() {
                missing.push((id, room, since));
            }
        }
        if !missing.is_empty() {
            tracing::debug!(conversations = missing.len(), "repairing a gap");
        }
        let mut complete = true;
        for some in missing.chunks(TOGETHER) {
            let from = |(id, room, since): &Since| {
                let from = self.reads_from(room, *since);
                (*id, Arc::clone(room), from)
            };
            let of: Vec<Since> = some.iter().map(from).collect();
            match self.missed(&of).await {
                Ok(found) => {
                    for ((id, room, _), missed) in some.iter().zip(found) {
                        if missed.is_spoken_in || !missed.marks.is_empty() {
                            self.begin_repair(*id, room, missed, places);
                        } else {
                            self.go_on(room);
                        }
                    }
                }
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, "a repair waits for the store");
                    for (_, room, since) in some {
                        room.let_be(*since);
                    }
                    complete = false;
                }
                Err(error) => {
                    for (id, room, _) in some {
                        self.cannot_repair(*id, room, &error);
                    }
                }
            }
        }
        complete
    }

    /// Nothing is to be read: unless there is another gap by now, the conversation goes on.
    fn go_on(&self, room: &Room) {
        match room.next(self.keeps()) {
            Next::Done(delivery) => self.count(EventType::ChatMessage, delivery),
            Next::Read(since) => {
                room.let_be(since);
                self.missed.notify_one();
            }
        }
    }

    fn begin_repair(
        self: &Arc<Self>,
        id: ConversationId,
        room: &Arc<Room>,
        missed: Missed,
        places: &Arc<Semaphore>,
    ) {
        let (hub, room, places) = (Arc::clone(self), Arc::clone(room), Arc::clone(places));
        self.vital.spawn("repair", async move {
            // It is never closed.
            let _place = places.acquire_owned().await;
            hub.repair_room(id, &room, missed).await;
        });
    }

    /// Shows what a conversation that the caller has taken over has missed, until nothing is left
    /// to be read. Returns whether that was possible.
    pub(super) async fn repair_room(
        &self,
        id: ConversationId,
        room: &Arc<Room>,
        first: Missed,
    ) -> bool {
        let mut missed = Ok(first);
        loop {
            let read = match missed {
                Ok(missed) => self.read_missed(id, room, missed).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(began) => room.is_swept(before(began, AGE)),
                Err(error) => {
                    self.cannot_repair(id, room, &error);
                    return false;
                }
            }
            match room.next(self.keeps()) {
                Next::Done(delivery) => {
                    self.count(EventType::ChatMessage, delivery);
                    return true;
                }
                Next::Read(since) => missed = self.missed_since(id, room, since).await,
            }
        }
    }

    /// Looks at one conversation that has missed something since then.
    async fn missed_since(
        &self,
        id: ConversationId,
        room: &Arc<Room>,
        since: Timestamp,
    ) -> Result<Missed, StoreError> {
        let from = self.reads_from(room, since);
        self.look_at((id, Arc::clone(room), from)).await
    }

    /// Looks at one conversation, as soon as the store answers.
    pub(super) async fn look_at(&self, of: Since) -> Result<Missed, StoreError> {
        let of = [of];
        loop {
            match self.missed(&of).await {
                Ok(found) => return found.into_iter().next().ok_or(StoreError::Closed),
                Err(error) => wait_for(error).await?,
            }
        }
    }

    /// Returns the time of the look.
    async fn read_missed(
        &self,
        id: ConversationId,
        room: &Arc<Room>,
        missed: Missed,
    ) -> Result<Timestamp, StoreError> {
        let Missed { from, began, .. } = missed;
        if room.remembers(from) {
            let unsettled = before(from, SETTLE_MAX);
            let from = if room.remembers(unsettled) {
                unsettled
            } else {
                from
            };
            self.show_missed(id, room, from).await?;
            let unfound = self.unfound(id, room, &missed).await?;
            self.show_marks(room, &missed.marks, &unfound);
            return Ok(began);
        }
        tracing::warn!(
            conversation_id = %id,
            "a gap reaches too far back: the sockets of the conversation are closed"
        );
        self.metrics.repair_given_up();
        room.give_up();
        Ok(began)
    }

    /// Shows the messages that were not shown yet. A page is followed by another one only if what
    /// was stored meanwhile and stands before that has been shown: its sender may have said more.
    async fn show_missed(
        &self,
        id: ConversationId,
        room: &Room,
        from: Timestamp,
    ) -> Result<(), StoreError> {
        let mut late = HashSet::new();
        let mut pages = Pages::since(&self.store, id, from).readable();
        let mut is_first = true;
        while let Some(messages) = next_page(&mut pages).await? {
            let first = messages.first().map(|message| message.created_at);
            let passed = match first {
                Some(end) if !is_first => self.passed_over(id, room, (from, end)).await?,
                _ => Vec::new(),
            };
            // One that cannot be read does not come however often it is asked for.
            if passed.into_iter().filter(|it| late.insert(*it)).count() > 0 {
                self.metrics.repair_begins_again();
                pages = Pages::since(&self.store, id, from).readable();
                is_first = true;
                continue;
            }
            is_first = false;
            for message in messages {
                if !self.unannounced.contains(message.id) {
                    self.show_stored(room, message);
                }
            }
        }
        self.metrics.rows_unreadable(pages.unreadable());
        Ok(())
    }

    /// Returns the messages between two times that are stored and have not been shown, of those
    /// that a commit under way may have added.
    async fn passed_over(
        &self,
        id: ConversationId,
        room: &Room,
        (from, end): (Timestamp, Timestamp),
    ) -> Result<Vec<MessageId>, StoreError> {
        let between = (from.max(before(self.now(), REACH)), end);
        let stored = loop {
            match self.store.stored_between(&[id], between, MOST).await {
                Ok(stored) => break stored,
                Err(error) => wait_for(error).await?,
            }
        };
        let ids = stored.into_iter().map(|(_, message, _)| message);
        let is_missed = |id: &MessageId| !room.has_shown(*id) && !self.unannounced.contains(*id);
        Ok(ids.filter(is_missed).collect())
    }

    fn show_stored(&self, room: &Room, message: Message) {
        let message = Arc::new(message);
        let frames = self.frames(room, &Event::stored(Arc::clone(&message)));
        let delivery = room.deliver_stored(&message, &frames, self.keeps());
        if delivery != Delivery::default() {
            self.count(EventType::ChatMessage, delivery);
            self.metrics.message_repaired();
        }
    }

    fn cannot_repair(&self, id: ConversationId, room: &Room, error: &StoreError) {
        tracing::error!(conversation_id = %id, %error, "a gap cannot be repaired");
        self.metrics.repair_given_up();
        self.go_on(room);
    }
}

/// Reads the next page, as soon as the store answers.
async fn next_page(pages: &mut Pages) -> Result<Option<Vec<Message>>, StoreError> {
    loop {
        match pages.next().await {
            Ok(page) => return Ok(page),
            Err(error) => wait_for(error).await?,
        }
    }
}

/// Waits before the store is asked again.
///
/// # Errors
/// If that is in vain.
async fn wait_for(error: StoreError) -> Result<(), StoreError> {
    if !error.may_pass() {
        return Err(error);
    }
    tracing::warn!(%error, "a repair waits for the store");
    sleep(PAUSE).await;
    Ok(())
}
