//! A session of Engine.IO: what waits for its client, whatever the transport, and who it is.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{INTERVAL, TIMEOUT, packet::PING};
use crate::{
    hub::queue::QueueLimits,
    limits::{Meter, SocketSeat, Throttled},
};

/// What the address and the headers of the first request say of the client.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// `user_id` of the address.
    pub user_id: Option<String>,
    /// Token of the address, or of the header.
    pub token: Option<String>,
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client has said so, or is silent, or has gone.
    Closed,
    /// The client does not read.
    Slow,
}

/// A session.
pub struct Session {
    pub sid: String,
    pub claim: Claim,
    pub meter: Meter,
    limits: QueueLimits,
    /// Held for moments only.
    state: Mutex<State>,
    /// Wakes who waits for packets.
    filled: Notify,
}

struct State {
    /// Counts among the open sockets of its client.
    seat: SocketSeat,
    packets: VecDeque<Bytes>,
    bytes: usize,
    end: Option<SessionEnd>,
    transport: Transport,
    /// As whom the client was let in.
    user: Option<Arc<str>>,
    /// Binary parts that are still to come, of an event that is passed over.
    attachments: usize,
    /// When the client is next asked for a word.
    ping_at: Instant,
    /// When the session ends without one.
    dead_at: Option<Instant>,
}

/// The way by which a client is sent packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Polling,
    /// A WebSocket was opened beside polling, and is tried.
    Upgrading,
    WebSocket,
}

impl Session {
    /// Makes a session whose client may be sent so much before it reads.
    #[must_use]
    pub fn new(
        sid: String,
        claim: Claim,
        seat: SocketSeat,
        transport: Transport,
        limits: QueueLimits,
    ) -> Self {
        Session {
            sid,
            claim,
            meter: seat.meter().clone(),
            limits,
            state: Mutex::new(State {
                seat,
                packets: VecDeque::new(),
                bytes: 0,
                end: None,
                transport,
                user: None,
                attachments: 0,
                ping_at: Instant::now() + INTERVAL,
                dead_at: None,
            }),
            filled: Notify::new(),
        }
    }

    /// Adds a packet. One too many ends the session.
    pub fn push(&self, packet: Bytes) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let is_full = state.packets.len() >= self.limits.frames
            || state.bytes + packet.len() > self.limits.bytes;
        if is_full && !state.packets.is_empty() {
            state.finish(SessionEnd::Slow);
        } else {
            state.bytes += packet.len();
            state.packets.push_back(packet);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Takes all packets that wait.
    ///
    /// # Errors
    /// Why the session has ended.
    pub fn take(&self) -> Result<VecDeque<Bytes>, SessionEnd> {
        let mut state = self.lock();
        state.bytes = 0;
        let packets = mem::take(&mut state.packets);
        match state.end {
            Some(end) if packets.is_empty() => Err(end),
            _ => Ok(packets),
        }
    }

    /// Waits until there may be something to take. May be cancelled.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Ends the session, unless it has ended.
    pub fn finish(&self, end: SessionEnd) {
        self.lock().finish(end);
        self.filled.notify_one();
    }

    /// Returns whether the session has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Notes the client's answer to a ping.
    pub fn heard(&self) {
        let mut state = self.lock();
        state.dead_at = None;
        state.ping_at = Instant::now() + INTERVAL;
    }

    /// Asks the client for a word if it is time, and ends the session of one that gives none.
    pub fn beat(&self, now: Instant) {
        let mut state = self.lock();
        if state.dead_at.is_some_and(|at| at <= now) {
            drop(state);
            return self.finish(SessionEnd::Closed);
        }
        if state.dead_at.is_none() && state.ping_at <= now {
            state.dead_at = Some(now + TIMEOUT);
            drop(state);
            self.push(Bytes::from_static(PING.as_bytes()));
        }
    }

    /// Returns the transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.lock().transport
    }

    /// Changes the transport if it is this one; returns whether it was.
    pub fn change(&self, from: Transport, to: Transport) -> bool {
        let mut state = self.lock();
        let is_it = state.transport == from && state.end.is_none();
        if is_it {
            state.transport = to;
        }
        is_it
    }

    /// Returns as whom the client was let in.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.lock().user.clone()
    }

    /// Notes as whom the client is let in, who counts for the limits from now on.
    ///
    /// # Errors
    /// [`Throttled`] if the user has too many sockets.
    pub fn enter(&self, user: &Arc<str>) -> Result<(), Throttled> {
        let mut state = self.lock();
        state.seat.is_user(user)?;
        state.user = Some(Arc::clone(user));
        Ok(())
    }

    /// Notes that the client has left; returns as whom it was there.
    pub fn leave(&self) -> Option<Arc<str>> {
        self.lock().user.take()
    }

    /// Expects binary parts, which are passed over.
    pub fn expect(&self, attachments: usize) {
        self.lock().attachments = attachments;
    }

    /// Takes a binary part; returns whether it was expected.
    pub fn attachment(&self) -> bool {
        let mut state = self.lock();
        let is_expected = state.attachments > 0;
        state.attachments = state.attachments.saturating_sub(1);
        is_expected
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn finish(&mut self, end: SessionEnd) {
        if self.end.is_none() {
            self.end = Some(end);
            if end == SessionEnd::Slow {
                self.packets.clear();
            }
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(frames: usize) -> Session {
        let limits = QueueLimits { frames, bytes: 100 };
        let (claim, seat) = (Claim::default(), SocketSeat::default());
        Session::new("a".to_owned(), claim, seat, Transport::Polling, limits)
    }

    #[test]
    fn packets_come_out_in_their_order_and_one_too_many_ends_the_session() {
        let session = session(2);
        session.push(Bytes::from_static(b"a"));
        session.push(Bytes::from_static(b"b"));
        assert_eq!(session.take().unwrap(), ["a", "b"]);
        for packet in ["a", "b", "c"] {
            session.push(Bytes::from(packet));
        }
        assert_eq!(session.take(), Err(SessionEnd::Slow));
    }

    #[test]
    fn a_session_that_ended_still_gives_what_waited() {
        let session = session(2);
        session.push(Bytes::from_static(b"a"));
        session.finish(SessionEnd::Closed);
        assert_eq!(session.take().unwrap(), ["a"]);
        assert_eq!(session.take(), Err(SessionEnd::Closed));
    }

    #[test]
    fn a_client_is_asked_for_a_word_and_ended_without_one() {
        let (session, start) = (session(8), Instant::now());
        session.beat(start);
        assert!(session.take().unwrap().is_empty());
        session.beat(start + INTERVAL * 2);
        assert_eq!(session.take().unwrap(), ["2"]);
        session.beat(start + INTERVAL * 2 + TIMEOUT / 2);
        assert!(!session.is_over());
        session.beat(start + INTERVAL * 2 + TIMEOUT);
        assert!(session.is_over());
    }
}
