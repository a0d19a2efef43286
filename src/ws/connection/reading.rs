//! Takes the messages of a socket's client, as far as its budget and its work allow.

use std::time::Instant;

use super::{ANSWERS, Connection};
use crate::{
    metrics::SecurityEvent,
    ws::{
        budget::{BudgetRate, FRAMES, Spent, TURN, weight},
        protocol::Protocol,
        reader::Incoming,
        session::{Action, Reason},
    },
};

impl<P: Protocol> Connection<P> {
    /// Takes out of the buffer what has arrived whole, as far as it may be done beside what is
    /// under way. What a peer has said before it was lost is still done.
    pub(super) fn read_messages(&mut self) -> Option<u16> {
        let mut ended = self.take_messages();
        let (frames, bytes) = self.reader.news.sum();
        if frames + self.refused > 0 {
            let counted = frames.saturating_add(std::mem::take(&mut self.refused));
            ended = ended.or(self.spend(counted, bytes));
            self.turn = self.turn.saturating_add(frames);
            self.app.metrics.frames_in(&mut self.reader.news);
        }
        self.reader.give_back();
        ended
    }

    /// Counts frames against the budget; a client that goes on sending too many is closed.
    fn spend(&mut self, frames: u32, bytes: u32) -> Option<u16> {
        let rate = BudgetRate::from(&self.app.config.ws);
        match self.budget.spend(frames, bytes, rate, Instant::now()) {
            Spent::Short { first: true } => {
                self.app.metrics.flood("slowed");
                self.note(SecurityEvent::Limit, FRAMES);
            }
            Spent::Flooding if self.session.is_open() => {
                self.app.metrics.flood("closed");
                let goodbye = self.close(Reason::Flooding);
                return self.act(goodbye);
            }
            _ => {}
        }
        None
    }

    fn take_messages(&mut self) -> Option<u16> {
        self.has_more = false;
        let mut taken = 0;
        while self.hears() {
            if taken == TURN {
                self.has_more = true;
                break;
            }
            taken += 1;
            let action = match self.work.take_held() {
                Some(held) => held,
                None => self.next_action()?,
            };
            if let Some(action) = self.work.admit(action, self.writer.is_empty())
                && let Some(code) = self.act(action)
            {
                return Some(code);
            }
        }
        None
    }

    /// Returns whether the next message may be taken.
    pub(super) fn hears(&self) -> bool {
        self.work.hears(self.writer.is_empty())
            && !self.is_over()
            && self.budget.paused_until().is_none()
    }

    fn next_action(&mut self) -> Option<Action<P::Request>> {
        match self.reader.take_message() {
            Ok(Some(incoming)) => {
                if let Incoming::Text(text) = &incoming {
                    self.refused = self.refused.saturating_add(weight(text));
                }
                Some(self.session.incoming(incoming))
            }
            Ok(None) => self.lost.then_some(Action::End),
            Err(violation) => {
                tracing::debug!(%violation, "socket dropped");
                Some(self.session.violation(violation))
            }
        }
    }

    /// Returns whether what the peer has asked for is being read: who sends pings or nonsense and
    /// reads no answers is not read any further, and in the end not waited for either.
    pub(super) fn has_room(&self) -> bool {
        self.writer.len() < self.app.config.ws.queue_messages.saturating_add(ANSWERS)
    }
}
