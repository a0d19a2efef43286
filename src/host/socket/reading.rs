//! Reads what the client of a hosted socket sends, as far as its calls and its budget allow.

use std::time::Instant;

use fastwebsockets::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ANSWERS, End, Hosted, WRITING};
use crate::{
    host::calls::Ask,
    metrics::SecurityEvent,
    ws::{
        budget::{BudgetRate, FRAMES, Spent},
        reader::{Incoming, Violation},
        session::Reason,
        writer::{close_frame, frame},
    },
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// Returns `true` if more is read from the peer.
    pub(super) fn has_room(&self) -> bool {
        self.calls.has_room()
            && self.writer.len() < WRITING + ANSWERS
            && self.budget.paused_until().is_none()
    }

    /// Takes out of the buffer what has arrived whole.
    pub(super) fn take_messages(&mut self) -> Option<End> {
        let end = loop {
            if !self.has_room() || self.ending.as_ref().is_some_and(|it| it.answered) {
                break None;
            }
            match self.reader.take_message() {
                Ok(Some(incoming)) => {
                    self.spend();
                    self.incoming(incoming);
                }
                Ok(None) if self.lost => break Some(self.end()),
                Ok(None) => break None,
                Err(violation) => {
                    tracing::debug!(%violation, "socket dropped");
                    if violation != Violation::TooBig || self.ending.is_some() {
                        break Some(self.end());
                    }
                    // The rest has no meaning: no answer is waited for.
                    let code = Reason::TooBig.code();
                    self.end_with(close_frame(code), code, true);
                }
            }
        };
        self.spend();
        self.reader.give_back();
        end
    }

    /// Counts the frames that were read. Their bytes do not matter: a message waits for its call.
    fn spend(&mut self) {
        let (frames, _) = self.reader.news.sum();
        if frames == 0 {
            return;
        }
        self.app.metrics.frames_in(&mut self.reader.news);
        self.turn = self.turn.saturating_add(frames);
        let rate = BudgetRate::from(&self.place.host.settings);
        let spent = self.budget.spend(frames, 0, rate, Instant::now());
        if spent == (Spent::Short { first: true }) {
            self.app.metrics.flood("slowed");
            self.note(SecurityEvent::Limit, FRAMES);
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Close(code) => {
                self.place.code = code;
                match &mut self.ending {
                    Some(ending) => ending.answered = true,
                    // Daphne answers every code with 1000.
                    None => self.end_with(close_frame(1000), code.unwrap_or(1000), true),
                }
            }
            _ if self.ending.is_some() => {}
            Incoming::Text(text) => self.calls.push(Ask::Text(text)),
            Incoming::Binary(bytes) => self.calls.push(Ask::Binary(bytes)),
            Incoming::Ping(payload) => {
                self.send(frame(OpCode::Pong, |out| out.extend_from_slice(&payload)));
            }
            Incoming::Pong => {}
        }
    }
}
