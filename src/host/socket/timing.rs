//! Deadlines of a hosted socket, and what it does at each.

use std::time::Instant;

use fastwebsockets::OpCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Hosted};
use crate::{
    clock::since_1970,
    metrics::HostFailure,
    ws::{heartbeat::Beat, session::Reason, writer::frame},
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// When something is due.
    pub(super) fn due(&self) -> Instant {
        let paused = self.budget.paused_until();
        if let Some(ending) = &self.ending {
            return paused.map_or(ending.by, |paused| paused.min(ending.by));
        }
        let late = self.place.mailbox.calling_since();
        let late = late.map(|since| since + self.place.host.call_timeout());
        let beat = self.heartbeat.due();
        [late, self.leaving, paused, self.idle_until()]
            .into_iter()
            .flatten()
            .fold(beat, Instant::min)
    }

    /// Does what is due. Returns the end of the socket if it is that.
    pub(super) fn beat(&mut self, reading: bool) -> Option<End> {
        let now = Instant::now();
        self.budget.resume(now);
        if let Some(ending) = &self.ending {
            return (ending.by <= now).then(|| self.end());
        }
        if self.leaving.is_some_and(|at| at <= now) {
            self.leave(Reason::Restart);
            return None;
        }
        let timeout = self.place.host.call_timeout();
        if let Some(since) = self.place.mailbox.calling_since()
            && since + timeout <= now
        {
            let socket = self.place.number;
            tracing::warn!(socket, ?timeout, "a worker took too long for a call");
            self.app.metrics.host_failure(HostFailure::Late);
            self.place.ended();
            if let Some(duty) = self.calls.duty() {
                duty.unfit();
            }
            self.calls.done();
            self.place.link.forget(socket);
            self.leave(Reason::Broken);
            return None;
        }
        if !reading {
            // A peer that is not read cannot be heard.
            self.heartbeat.heard(now);
        }
        let unix_nanos = u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        match self.heartbeat.beat(now, unix_nanos) {
            Beat::Nothing => {}
            Beat::Ping(payload) => {
                self.send(frame(OpCode::Ping, |out| out.extend_from_slice(&payload)));
            }
            Beat::Dead => return Some(self.end()),
            Beat::Old => self.leave(Reason::Age),
        }
        None
    }
}
