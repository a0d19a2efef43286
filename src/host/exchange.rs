//! Requests of HTTP that a worker answers: what it says of each, and how much of a body is on its
//! way.
//!
//! Of each body at most [`WINDOW`] is on its way: who receives it says how much has been taken.
//! A part counts as [`LEAST`] bytes if it has fewer, as it takes about as much.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    lock,
    wire::{MAX_PART, ResponseHead, What},
};

/// Most bytes of a body that are on their way, in each direction.
pub const WINDOW: usize = 64 << 10;

/// Bytes that a part of a body counts as, at least.
const LEAST: usize = 512;

/// A part of the window that two parts of a body fit in.
const _: () = assert!(2 * MAX_PART <= WINDOW);

/// Returns what a part of a body takes of the window.
pub fn cost(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.max(LEAST) }
}

/// A message about one request, in the order of the wire.
#[derive(Debug)]
pub enum ExchangeReply {
    Head(ResponseHead),
    Part(Bytes),
    /// The answer is whole.
    End,
    /// The application has returned, or has failed.
    Ended,
    /// The worker is gone.
    Lost,
    /// The client sends no more of its body.
    Stalled,
    /// What the client sends is no body.
    Malformed,
}

/// More of an answer than the window takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

/// One request.
pub struct Exchange {
    replies: mpsc::UnboundedSender<ExchangeReply>,
    /// Of the answer: what has come and has not been taken.
    held: AtomicUsize,
    /// Of the request's body: what may be sent, and what has been sent and not been taken.
    room: Semaphore,
    sent: AtomicUsize,
    /// When a part of the request's body was sent last.
    sent_at: Mutex<Instant>,
}

impl Exchange {
    fn new(replies: mpsc::UnboundedSender<ExchangeReply>) -> Self {
        Exchange {
            replies,
            held: AtomicUsize::new(0),
            room: Semaphore::new(WINDOW),
            sent: AtomicUsize::new(0),
            sent_at: Mutex::new(Instant::now()),
        }
    }

    /// Reports something to the task that answers.
    pub fn reply(&self, reply: ExchangeReply) {
        // The caller may have gone, which is no fault.
        let _ = self.replies.send(reply);
    }

    /// Waits for room for a part of the request's body. Returns `false` once the request is over.
    pub async fn room_for(&self, bytes: usize) -> bool {
        let cost = cost(bytes);
        let Ok(permits) = u32::try_from(cost) else {
            return false;
        };
        let room = tokio::select! {
            room = self.room.acquire_many(permits) => room,
            () = self.over() => return false,
        };
        let Ok(room) = room else {
            return false;
        };
        room.forget();
        self.sent.fetch_add(cost, Ordering::AcqRel);
        *lock(&self.sent_at) = Instant::now();
        true
    }

    /// Returns once the caller has gone.
    pub async fn over(&self) {
        self.replies.closed().await;
    }

    /// Returns when a part of the request's body was sent last, or when it began.
    pub fn sent_at(&self) -> Instant {
        *lock(&self.sent_at)
    }

    /// The client has taken a part of the answer. Returns what it counted as.
    pub fn take(&self, bytes: usize) -> usize {
        let cost = cost(bytes);
        self.held.fetch_sub(cost, Ordering::AcqRel);
        cost
    }

    fn part(&self, part: &Bytes) -> Result<(), Overrun> {
        let cost = cost(part.len());
        if self.held.fetch_add(cost, Ordering::AcqRel) + cost > WINDOW {
            return Err(Overrun);
        }
        if cost > 0 {
            // A copy, which keeps nothing else of what was read with it.
            self.reply(ExchangeReply::Part(Bytes::copy_from_slice(part)));
        }
        Ok(())
    }

    /// The application has taken this much of the request's body.
    fn taken(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut freed = 0;
        let update = |sent: usize| {
            freed = sent.min(bytes);
            Some(sent - freed)
        };
        // It never refuses.
        let _ = self
            .sent
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        self.room.add_permits(freed);
    }

    fn hear(&self, what: What) -> Result<(), Overrun> {
        match what {
            What::Response(head) => self.reply(ExchangeReply::Head(head)),
            What::Body(part) => self.part(&part)?,
            What::BodyEnd(part) => {
                self.part(&part)?;
                self.reply(ExchangeReply::End);
            }
            What::Taken(bytes) => self.taken(bytes),
            _ => {}
        }
        Ok(())
    }
}

/// The requests of one worker that its application has not returned from.
pub struct Exchanges {
    open: Mutex<HashMap<u64, (Arc<Exchange>, OwnedSemaphorePermit)>>,
    /// A permit for each that there may be.
    slots: Arc<Semaphore>,
}

impl Exchanges {
    pub fn new(most: usize) -> Self {
        Exchanges {
            open: Mutex::default(),
            slots: Arc::new(Semaphore::new(most)),
        }
    }

    /// Waits for leave to ask; `None` once the worker is gone.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Begins a request. `None` if the worker is gone.
    pub fn begin(
        &self,
        number: u64,
        slot: OwnedSemaphorePermit,
    ) -> Option<(Arc<Exchange>, mpsc::UnboundedReceiver<ExchangeReply>)> {
        let (replies, receiver) = mpsc::unbounded_channel();
        let exchange = Arc::new(Exchange::new(replies));
        let mut open = lock(&self.open);
        if self.slots.is_closed() {
            return None;
        }
        open.insert(number, (Arc::clone(&exchange), slot));
        Some((exchange, receiver))
    }

    /// Returns how many are under way.
    pub fn len(&self) -> usize {
        lock(&self.open).len()
    }

    /// Puts what the worker says where it belongs; of a request that is over it is dropped.
    pub fn hear(&self, number: u64, what: What) -> Result<(), Overrun> {
        let found = lock(&self.open).get(&number).map(|it| Arc::clone(&it.0));
        found.map_or(Ok(()), |exchange| exchange.hear(what))
    }

    /// The application has returned.
    pub fn ended(&self, number: u64) {
        if let Some((exchange, _slot)) = lock(&self.open).remove(&number) {
            exchange.reply(ExchangeReply::Ended);
        }
    }

    /// The worker is gone.
    pub fn end(&self) {
        let mut open = lock(&self.open);
        self.slots.close();
        for (_, (exchange, _slot)) in open.drain() {
            exchange.reply(ExchangeReply::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(
        most: usize,
    ) -> (
        Exchanges,
        Arc<Exchange>,
        mpsc::UnboundedReceiver<ExchangeReply>,
    ) {
        let exchanges = Exchanges::new(most);
        let slot = Arc::clone(&exchanges.slots).try_acquire_owned().unwrap();
        let (exchange, replies) = exchanges.begin(8, slot).unwrap();
        (exchanges, exchange, replies)
    }

    #[tokio::test]
    async fn an_answer_is_held_up_to_the_window_and_small_parts_count_as_more() {
        let (exchanges, exchange, mut replies) = begun(1);
        for _ in 0..WINDOW / LEAST {
            assert_eq!(exchanges.hear(8, What::Body("x".into())), Ok(()));
        }
        assert_eq!(exchanges.hear(8, What::Body("x".into())), Err(Overrun));
        let (exchanges, exchange_again, _replies) = begun(1);
        drop(exchange);
        let part = || What::Body(Bytes::from(vec![0; MAX_PART]));
        assert_eq!(exchanges.hear(8, part()), Ok(()));
        assert_eq!(exchanges.hear(8, part()), Ok(()));
        assert_eq!(exchange_again.take(MAX_PART), MAX_PART);
        assert_eq!(exchanges.hear(8, part()), Ok(()));
        assert!(matches!(replies.recv().await, Some(ExchangeReply::Part(_))));
    }

    #[tokio::test]
    async fn a_worker_that_says_it_has_taken_more_than_was_sent_makes_no_room() {
        let (exchanges, exchange, _replies) = begun(1);
        assert!(exchange.room_for(WINDOW).await);
        exchanges.hear(8, What::Taken(u64::MAX)).unwrap();
        exchanges.hear(8, What::Taken(u64::MAX)).unwrap();
        assert_eq!(exchange.room.available_permits(), WINDOW);
    }

    #[tokio::test]
    async fn a_slot_is_free_again_when_the_application_has_returned() {
        let (exchanges, exchange, mut replies) = begun(1);
        assert_eq!(exchanges.slots.available_permits(), 0);
        exchanges.ended(8);
        assert_eq!(
            (exchanges.slots.available_permits(), exchanges.len()),
            (1, 0)
        );
        assert!(matches!(replies.recv().await, Some(ExchangeReply::Ended)));
        drop(replies);
        exchange.over().await;
        assert!(!exchange.room_for(2 * WINDOW).await);
        exchanges.end();
        assert!(exchanges.slot().await.is_none());
    }
}
