//! A socket whose consumer rests: its worker has written down the state and let go of it, and a
//! worker, the same or another, goes on from there when there is something to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{Hosted, a_while};
use crate::{
    host::{
        LOOK,
        calls::{Ask, Calls},
        state::HeldState,
    },
    metrics::{Call, HostFailure, Level},
    ws::session::Reason,
};

/// With `host.hibernate`: the time without a call after which a socket hibernates.
const IDLE: Duration = Duration::from_secs(5);

/// Workers that may be lost while they wake a state. It may be what has killed them.
const LOST: u8 = 2;

/// The rest of one socket.
pub(super) struct Rest {
    /// The state: while no worker has the consumer, and until one has woken it.
    state: Option<Arc<HeldState>>,
    /// The end of the last call.
    since: Instant,
    /// The state could not be written since then.
    refused: bool,
    /// Workers that were lost while they woke it.
    lost: u8,
}

impl Rest {
    pub(super) fn new(now: Instant) -> Self {
        Rest {
            state: None,
            since: now,
            refused: false,
            lost: 0,
        }
    }

    /// A call has returned.
    pub(super) fn called(&mut self) {
        self.since = Instant::now();
        self.refused = false;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// Counts the socket at the level that it has now.
    pub(super) fn count_level(&mut self) {
        let level = if self.rest.state.is_some() {
            Level::Hibernated
        } else if self.is_parked() {
            Level::Parked
        } else {
            Level::Awake
        };
        let class = self.class.as_ref().map_or("", |class| &class.name);
        let metrics = &self.app.metrics;
        self.level = Some((metrics.host_level(level), metrics.host_class(class, level)));
    }

    fn is_parked(&self) -> bool {
        self.class.as_ref().is_some_and(|class| class.parked)
    }

    /// When the socket is to hibernate, if it may.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let may = self.place.host.settings.hibernate
            && self.rest.state.is_none()
            && !self.rest.refused
            && !self.calls.is_busy()
            && !self.place.ended
            && self.is_parked();
        may.then(|| self.rest.since + IDLE)
    }

    /// Begins a sleep or a wake if it is time for one. Returns `true` if calls have to wait for it.
    pub(super) fn rests(&mut self) -> bool {
        if let Some(state) = &self.rest.state {
            let is_wanted = !self.place.host.settings.hibernate
                || self.calls.next(&self.place.mailbox).is_some();
            // Without a worker it goes on when one has joined.
            if is_wanted && self.place.change_worker() {
                let wake = Ask::Wake(Arc::clone(state));
                self.calls.wait_first(wake, &self.place.link);
            }
            return true;
        }
        let moves = self.place.link.is_retiring() && self.leaving.is_none();
        let idles = || self.idle_until().is_some_and(|at| at <= Instant::now());
        let sleeps = moves || idles();
        if sleeps {
            self.calls.wait_first(Ask::Sleep, &self.place.link);
        }
        sleeps
    }

    /// The worker has let go of the socket, and this is its state.
    pub(super) fn slept(&mut self, body: Box<[u8]>) {
        self.calls.done();
        let Some((Call::Sleep, began)) = self.began.take() else {
            return self.broken();
        };
        self.app.metrics.host_ran(Call::Sleep, began.elapsed());
        if let Some(state) = self.place.host.states.hold(body) {
            self.rest.state = Some(Arc::new(state));
            self.rest.lost = 0;
            self.count_level();
        } else {
            self.place.ended();
            self.unfit("there is no room for more states");
        }
    }

    /// A worker has woken the state.
    pub(super) fn woken(&mut self) {
        self.rest.state = None;
        self.count_level();
    }

    /// The state could not be written, or does not fit.
    pub(super) fn refused(&mut self, why: &str) {
        self.calls.done();
        match self.began.take() {
            Some((Call::Sleep, _)) if self.place.link.is_retiring() => self.unfit(why),
            Some((Call::Sleep, _)) => self.rest.refused = true,
            Some((Call::Wake, _)) => {
                self.place.link.forget(self.place.number);
                self.place.ended();
                self.rest.state = None;
                self.unfit(why);
            }
            _ => self.broken(),
        }
    }

    /// The worker is gone that was to wake the state. Returns `false` if that is the end.
    pub(super) fn lost_awaking(&mut self) -> bool {
        let Rest { state, lost, .. } = &mut self.rest;
        if state.is_none() {
            return false;
        }
        self.began = None;
        self.calls.give_up();
        *lost += 1;
        if *lost > LOST {
            *state = None;
        }
        state.is_some()
    }

    /// No call is begun until the mailbox reports the worker's end.
    pub(super) fn hold_if_awaking(&mut self) {
        if self.rest.state.is_some() {
            self.calls.hold();
        }
    }

    /// Closes the socket, at a time of its own, so that its client opens another one.
    fn unfit(&mut self, why: &str) {
        tracing::debug!(socket = self.place.number, why, "a state cannot move");
        self.app.metrics.host_failure(HostFailure::Unfit);
        self.leaving = Some(Instant::now() + a_while());
    }

    /// The worker has said what no call has asked for, and holds the socket no longer.
    fn broken(&mut self) {
        self.place.link.forget(self.place.number);
        self.place.ended();
        self.leave(Reason::Broken);
    }

    /// Wakes the consumer of a socket that has ended, so that it hears of that.
    pub(super) async fn wake_to_finish(&mut self) {
        while !self.place.ended
            && let Some(state) = self.rest.state.clone()
        {
            if !self.place.change_worker() {
                sleep(LOOK).await;
                continue;
            }
            self.calls = Calls::connecting();
            if let Some(credit) = self.place.link.credit().await {
                self.place.mailbox.begin(credit);
                self.began = Some((Call::Wake, Instant::now()));
                Ask::Wake(state).send(&self.place.link, self.place.number);
            }
            self.returned().await;
        }
    }
}
