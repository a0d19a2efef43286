//! The calls of one socket: frames and events, one call at a time, each kind in its
//! order.
//!
//! While a call is under way a few more messages are read, so that pings are answered; then the
//! client is slowed down by TCP.

use std::{collections::VecDeque, future::pending, pin::Pin, sync::Arc, time::Instant};

use tokio::sync::watch;

use super::{
    event::{Duty, RenderedFrames, Shared},
    link::{Credit, WorkerLink},
    mailbox::Mailbox,
    state::HeldState,
    wire::Down,
};
use crate::metrics::Call;

/// Messages of a client that wait, at most, and bytes past which no more are read.
const WAITING: usize = 16;
const WAITING_BYTES: usize = 64 << 10;

/// One call.
#[derive(Debug)]
pub enum Ask {
    Text(String),
    Binary(Vec<u8>),
    Event(Arc<Shared>),
    /// To write down the state.
    Sleep,
    /// To go on with a state.
    Wake(Arc<HeldState>),
}

impl Ask {
    /// Returns the kind of call that it is.
    pub fn call(&self) -> Call {
        match self {
            Ask::Text(_) | Ask::Binary(_) => Call::Frame,
            Ask::Event(_) => Call::Event,
            Ask::Sleep => Call::Sleep,
            Ask::Wake(_) => Call::Wake,
        }
    }

    fn len(&self) -> usize {
        match self {
            Ask::Text(text) => text.len(),
            Ask::Binary(bytes) => bytes.len(),
            Ask::Event(_) | Ask::Sleep | Ask::Wake(_) => 0,
        }
    }

    /// Sends it to the worker.
    pub fn send(&self, link: &WorkerLink, socket: u64) {
        match self {
            Ask::Text(text) => link.send(Down::Text, socket, text.as_bytes()),
            Ask::Binary(bytes) => link.send(Down::Binary, socket, bytes),
            Ask::Event(event) => link.send(Down::Event, socket, event.body()),
            Ask::Sleep => link.send(Down::Sleep, socket, b""),
            Ask::Wake(state) => link.send(Down::Wake, socket, state.body()),
        }
    }
}

type AwaitedCredit = Pin<Box<dyn Future<Output = Option<Credit>> + Send>>;

/// An outcome of [`Calls::ready`].
pub enum Ready {
    /// The next call may be made.
    Credit(Credit),
    /// Another socket's call has come to something.
    Rendered,
    /// The worker is gone.
    Lost,
}

/// The calls of one socket.
#[derive(Default)]
pub struct Calls {
    waiting: VecDeque<Ask>,
    bytes: usize,
    /// A sleep or a wake, which comes before that.
    first: Option<Ask>,
    /// The one whose turn it is.
    next: Option<Ask>,
    /// The last one was a frame: it is an event's turn.
    after_frame: bool,
    under_way: bool,
    credit: Option<AwaitedCredit>,
    since: Option<Instant>,
    /// The call that another socket makes for this one.
    blocked: Option<watch::Receiver<RenderedFrames>>,
    duty: Option<Box<Duty>>,
}

impl Calls {
    /// The calls of a socket whose connect is under way.
    #[must_use]
    pub fn connecting() -> Self {
        Calls {
            under_way: true,
            ..Calls::default()
        }
    }

    /// Returns `true` if another message of the client may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING && self.bytes < WAITING_BYTES
    }

    /// Adds a message of the client.
    pub fn push(&mut self, ask: Ask) {
        self.bytes += ask.len();
        self.waiting.push_back(ask);
    }

    /// The call whose turn it is, unless one is under way or waits already.
    pub fn next(&mut self, mailbox: &Mailbox) -> Option<&Ask> {
        if self.is_busy() {
            return None;
        }
        if self.next.is_none() {
            let event = |after: bool| {
                after
                    .then(|| mailbox.take_event().map(Ask::Event))
                    .flatten()
            };
            let after = self.after_frame;
            self.next = event(after)
                .or_else(|| self.take_message())
                .or_else(|| event(!after));
        }
        self.next.as_ref()
    }

    fn take_message(&mut self) -> Option<Ask> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.len();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(message)
    }

    /// Returns messages of the client that are left when it is gone, the next one first.
    pub fn drain(&mut self) -> VecDeque<Ask> {
        let next = self.next.take().filter(|ask| !matches!(ask, Ask::Event(_)));
        self.first = None;
        self.credit = None;
        self.blocked = None;
        if !self.under_way {
            // Another member is called.
            self.duty = None;
        }
        let mut left: VecDeque<Ask> = next.into_iter().collect();
        left.append(&mut self.waiting);
        left
    }

    /// The next call waits for its credit.
    pub fn wait(&mut self, link: &Arc<WorkerLink>, duty: Option<Duty>) {
        let link = Arc::clone(link);
        self.duty = duty.map(Box::new);
        self.since = Some(Instant::now());
        self.credit = Some(Box::pin(async move { link.credit().await }));
    }

    /// A sleep or a wake waits for its credit.
    pub fn wait_first(&mut self, ask: Ask, link: &Arc<WorkerLink>) {
        self.first = Some(ask);
        self.wait(link, None);
    }

    /// The next call waits for what another socket's comes to.
    pub fn wait_for(&mut self, rendered: watch::Receiver<RenderedFrames>) {
        self.blocked = Some(rendered);
    }

    /// The next one needs no call of its own.
    pub fn skip(&mut self) {
        self.after_frame = !matches!(self.next, Some(Ask::Event(_)));
        self.next = None;
    }

    #[must_use]
    pub fn waits(&self) -> bool {
        self.credit.is_some() || self.blocked.is_some()
    }

    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Returns `true` if a call is under way, or is about to be.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way || self.waits()
    }

    /// Begins nothing until [`Calls::give_up`].
    pub fn hold(&mut self) {
        self.under_way = true;
    }

    /// Gives up a sleep or a wake, as the worker is gone.
    pub fn give_up(&mut self) {
        self.first = None;
        self.credit = None;
        self.under_way = false;
    }

    /// Waits until the next call may go on. May be cancelled.
    pub async fn ready(&mut self) -> Ready {
        if let Some(credit) = &mut self.credit {
            let given = credit.await;
            self.credit = None;
            return given.map_or(Ready::Lost, Ready::Credit);
        }
        match &mut self.blocked {
            Some(rendered) => {
                // An error is a change too: who was called is gone.
                let _ = rendered.changed().await;
                self.blocked = None;
                Ready::Rendered
            }
            None => pending().await,
        }
    }

    /// The next call is made now. Returns it, and since when it has waited.
    pub fn begin(&mut self) -> Option<(Ask, Instant)> {
        let ask = if let Some(first) = self.first.take() {
            first
        } else {
            let next = self.next.take()?;
            self.after_frame = !matches!(next, Ask::Event(_));
            next
        };
        self.under_way = true;
        Some((ask, self.since.take().unwrap_or_else(Instant::now)))
    }

    /// Returns the call that is made for others too.
    pub fn duty(&mut self) -> Option<&mut Duty> {
        self.duty.as_deref_mut()
    }

    /// The call has returned.
    pub fn done(&mut self) {
        self.under_way = false;
        if let Some(duty) = self.duty.take() {
            duty.done();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hub::queue::QueueLimits;

    fn mailbox(events: &[&'static str]) -> Mailbox {
        let limits = QueueLimits {
            frames: 8,
            bytes: 1000,
        };
        let mailbox = Mailbox::new(limits, 8);
        for event in events {
            mailbox.event(&Arc::new(Shared::new(Bytes::from_static(event.as_bytes()))));
        }
        mailbox
    }

    fn turns(calls: &mut Calls, mailbox: &Mailbox) -> Vec<String> {
        let mut turns = Vec::new();
        while let Some(ask) = calls.next(mailbox) {
            turns.push(match ask {
                Ask::Text(text) => text.clone(),
                Ask::Binary(bytes) => format!("{bytes:?}"),
                Ask::Event(event) => String::from_utf8(event.body().to_vec()).unwrap(),
                Ask::Sleep | Ask::Wake(_) => unreachable!("none is asked for"),
            });
            assert!(calls.begin().is_some());
            assert!(calls.next(mailbox).is_none(), "one at a time");
            calls.done();
        }
        turns
    }

    #[test]
    fn frames_and_events_take_turns_each_in_its_order() {
        let mut calls = Calls::default();
        for text in ["f1", "f2", "f3"] {
            calls.push(Ask::Text(text.to_owned()));
        }
        let mailbox = mailbox(&["e1", "e2"]);
        assert_eq!(turns(&mut calls, &mailbox), ["f1", "e1", "f2", "e2", "f3"]);
    }

    #[test]
    fn nothing_is_called_while_the_connect_is_under_way() {
        let mut calls = Calls::connecting();
        calls.push(Ask::Text("f".to_owned()));
        let mailbox = mailbox(&["e"]);
        assert!(calls.next(&mailbox).is_none());
        calls.done();
        assert_eq!(turns(&mut calls, &mailbox), ["f", "e"]);
    }

    #[test]
    fn a_client_that_sends_faster_than_it_is_served_is_not_read() {
        let mut calls = Calls::connecting();
        for _ in 0..WAITING {
            assert!(calls.has_room());
            calls.push(Ask::Binary(vec![0]));
        }
        assert!(!calls.has_room());
        let mut calls = Calls::connecting();
        calls.push(Ask::Binary(vec![0; WAITING_BYTES]));
        assert!(!calls.has_room());
    }

    #[test]
    fn what_a_client_has_said_before_it_went_is_kept_and_events_are_not() {
        let mut calls = Calls::default();
        calls.push(Ask::Text("f1".to_owned()));
        calls.push(Ask::Text("f2".to_owned()));
        let mailbox = mailbox(&["e"]);
        assert!(matches!(calls.next(&mailbox), Some(Ask::Text(_))));
        assert_eq!(calls.drain().len(), 2);
        assert!(matches!(calls.next(&mailbox), Some(Ask::Event(_))));
        assert!(calls.drain().is_empty());
    }
}
