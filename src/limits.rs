//! Limits of one client, by address and by user, as `[limits]` sets them.
//!
//! - [`bucket`] remembers what each client has used, within bounded memory,
//! - [`open`] counts the sockets that are open,
//! - [`bodies`] bounds the bytes of requests, [`memory`] those of answers until they are sent,
//! - [`key`] is a client as both know it.
//!
//! A [`Meter`] is made for each request and goes with it to everything that is limited;
//! a socket that may be opened is a [`SocketSeat`], which goes with the socket to its end. Where nothing
//! is limited both are empty and cost nothing.
//!
//! Who refuses says so in the words of Django REST framework's throttles.

pub mod bodies;
mod bucket;
mod key;
pub mod memory;
mod open;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use hyper::Request;

use self::{
    bucket::Buckets,
    key::ClientKey,
    memory::{MemoryPool, Pools},
    open::OpenCounts,
};
use crate::{
    config::{self, Config, Rate},
    metrics::Metrics,
    net::Peer,
};

/// Actions that are limited by a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedAction {
    Request,
    /// A message sent, or marked as read.
    Message,
    Typing,
    /// The handshake of a WebSocket.
    Socket,
    /// A conversation made.
    Conversation,
    /// A row read for an answer.
    Row,
    /// A token or session that is not good.
    Denied,
}

impl LimitedAction {
    /// Returns the limit's name in the settings and the metrics.
    const fn label(self) -> &'static str {
        match self {
            LimitedAction::Request => "requests",
            LimitedAction::Message => "messages",
            LimitedAction::Typing => "typing",
            LimitedAction::Socket => "sockets",
            LimitedAction::Conversation => "conversations",
            LimitedAction::Row => "rows",
            LimitedAction::Denied => "denied",
        }
    }
}

/// A client has used up what it may. It may try again after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit was reached")]
pub struct Throttled {
    wait: Duration,
    /// The name of the limit.
    limit: &'static str,
}

/// Probes and Prometheus are not refused: a load balancer that shares an address with clients would
/// take the process for dead.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// When there will be room for another open socket is for the client to know.
const UNTIL_A_SOCKET_ENDS: Duration = Duration::from_secs(10);

/// The time until a client has read its other answers is not known; a delay to suggest.
const UNTIL_AN_ANSWER_IS_READ: Duration = Duration::from_secs(1);

impl Throttled {
    /// Returns the name of the limit, as in the settings.
    #[must_use]
    pub fn limit(self) -> &'static str {
        self.limit
    }

    /// Whole seconds after which it is not refused for the same reason, unless it asks for more
    /// meanwhile.
    #[must_use]
    pub fn seconds(self) -> u64 {
        let whole = self.wait.as_secs();
        whole + u64::from(self.wait.subsec_nanos() > 0)
    }
}

/// The limits of one server, and what its clients have used of them.
pub struct Limits {
    address: Rules,
    user: Rules,
    buckets: Mutex<Buckets>,
    open: OpenCounts,
    answers: Pools,
    metrics: Arc<Metrics>,
    /// True if `/metrics` is ours, and free as probes are.
    shows_metrics: bool,
}

/// Rates and bounds of one kind of client.
#[derive(Debug)]
struct Rules {
    requests: Option<Rate>,
    messages: Option<Rate>,
    typing: Option<Rate>,
    sockets: Option<Rate>,
    /// 0 is any number.
    open_sockets: u32,
    conversations: Option<Rate>,
    rows: Option<Rate>,
    denied: Option<Rate>,
    /// 0 is any size.
    answer_memory_mib: u32,
}

/// Takes the rules out of one of the two sections, whose fields have the same names.
macro_rules! rules {
    ($section:expr, $denied:expr) => {
        Rules {
            denied: $denied,
            requests: $section.requests,
            messages: $section.messages,
            typing: $section.typing,
            sockets: $section.sockets,
            open_sockets: $section.open_sockets,
            conversations: $section.conversations,
            rows: $section.rows,
            answer_memory_mib: $section.answer_memory_mib,
        }
    };
}

impl Rules {
    fn rate(&self, action: LimitedAction) -> Option<Rate> {
        match action {
            LimitedAction::Request => self.requests,
            LimitedAction::Message => self.messages,
            LimitedAction::Typing => self.typing,
            LimitedAction::Socket => self.sockets,
            LimitedAction::Conversation => self.conversations,
            LimitedAction::Row => self.rows,
            LimitedAction::Denied => self.denied,
        }
    }

    fn limit_anything(&self) -> bool {
        let actions = [
            LimitedAction::Request,
            LimitedAction::Message,
            LimitedAction::Typing,
            LimitedAction::Socket,
            LimitedAction::Conversation,
            LimitedAction::Row,
            LimitedAction::Denied,
        ];
        self.open_sockets > 0
            || self.answer_memory_mib > 0
            || actions.iter().any(|it| self.rate(*it).is_some())
    }
}

impl Limits {
    /// Returns the limits of these settings, if they have any.
    #[must_use]
    pub fn of(config: &Config, metrics: Arc<Metrics>) -> Option<Arc<Self>> {
        let config::Limits {
            max_tracked,
            address,
            user,
        } = &config.limits;
        // Without an identity there are no users to limit.
        let users = config.auth.identity != config::Identity::None;
        let denied = address.denied.filter(|_| users);
        let (address, user) = (rules!(address, denied), rules!(user, None));
        let any = address.limit_anything() || users && user.limit_anything();
        any.then(|| {
            Arc::new(Limits {
                address,
                user,
                buckets: Mutex::new(Buckets::new(*max_tracked, Instant::now())),
                open: OpenCounts::default(),
                answers: Pools::default(),
                metrics,
                shows_metrics: config.shows_metrics(),
            })
        })
    }

    /// Meters a request: whose it is, and that it is one.
    ///
    /// # Errors
    /// [`Throttled`] if the address has none left.
    pub fn admit<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        settings: &config::Server,
    ) -> Result<(), Throttled> {
        let peer = request.extensions().get::<Peer>().copied();
        let client = peer.and_then(|peer| peer.client(request.headers(), settings));
        let meter = Meter::new(self, client);
        if !self.is_free(request.uri().path()) {
            meter.allow(LimitedAction::Request)?;
        }
        request.extensions_mut().insert(meter);
        Ok(())
    }

    fn is_free(&self, path: &str) -> bool {
        PROBES.contains(&path) || (self.shows_metrics && path == "/metrics")
    }

    fn rules(&self, key: ClientKey) -> &Rules {
        match key {
            ClientKey::User(_) => &self.user,
            ClientKey::V4(_) | ClientKey::V6(_) => &self.address,
        }
    }

    fn take(&self, key: ClientKey, action: LimitedAction, now: Instant) -> Result<(), Throttled> {
        let Some(rate) = self.rules(key).rate(action) else {
            return Ok(());
        };
        let taken = self.buckets().take((key, action), rate, now);
        taken.map_err(|wait| {
            self.metrics.limited(action.label(), key.label());
            let limit = action.label();
            Throttled { wait, limit }
        })
    }

    fn owes_no_rows(&self, key: ClientKey) -> Result<(), Throttled> {
        let Some(rate) = self.rules(key).rows else {
            return Ok(());
        };
        let owed = self
            .buckets()
            .owed((key, LimitedAction::Row), rate, Instant::now());
        match owed {
            None => Ok(()),
            Some(wait) => {
                let limit = LimitedAction::Row.label();
                self.metrics.limited(limit, key.label());
                Err(Throttled { wait, limit })
            }
        }
    }

    /// Refuses an address that has shown too many tokens and sessions that were not good.
    fn may_show(&self, key: ClientKey) -> Result<(), Throttled> {
        let (action, now) = (LimitedAction::Denied, Instant::now());
        let Some(rate) = self.rules(key).rate(action) else {
            return Ok(());
        };
        let Some(wait) = self.buckets().spent((key, action), rate, now) else {
            return Ok(());
        };
        let limit = action.label();
        self.metrics.limited(limit, key.label());
        Err(Throttled { wait, limit })
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client, as far as it is known and anything is limited.
#[derive(Clone, Default)]
pub struct Meter(Option<Counted>);

#[derive(Clone)]
struct Counted {
    limits: Arc<Limits>,
    address: Option<ClientKey>,
    /// Known later than the address.
    user: OnceLock<ClientKey>,
}

impl Counted {
    fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.address.into_iter().chain(self.user.get().copied())
    }
}

impl fmt::Debug for Meter {
    /// Writes the struct without its key, which stays out of every log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.0.is_some()).finish()
    }
}

impl Meter {
    /// Makes the meter of a client at this address; nothing is limited by address without one.
    fn new(limits: &Arc<Limits>, address: Option<IpAddr>) -> Self {
        Meter(Some(Counted {
            limits: Arc::clone(limits),
            address: address.map(ClientKey::of_address),
            user: OnceLock::new(),
        }))
    }

    /// Makes the meter of a request that was [admitted](Limits::admit).
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        request
            .extensions()
            .get::<Meter>()
            .cloned()
            .unwrap_or_default()
    }

    /// Sets the user of the client. The caller decides what an id is worth: one that anybody may
    /// claim would let a stranger use up somebody else's limits.
    ///
    /// # Errors
    /// [`Throttled`] if the user has no request left; the one at hand was only counted for the
    /// address yet.
    pub fn is_user(&self, id: &str) -> Result<(), Throttled> {
        let Some(counted) = &self.0 else {
            return Ok(());
        };
        let key = counted.limits.buckets().user(id);
        let key = *counted.user.get_or_init(|| key);
        counted
            .limits
            .take(key, LimitedAction::Request, Instant::now())
    }

    /// Counts something the client does.
    ///
    /// # Errors
    /// [`Throttled`]: it is not to be done.
    pub fn allow(&self, action: LimitedAction) -> Result<(), Throttled> {
        self.allow_at(action, Instant::now())
    }

    fn allow_at(&self, action: LimitedAction, now: Instant) -> Result<(), Throttled> {
        let Some(counted) = &self.0 else {
            return Ok(());
        };
        counted
            .keys()
            .try_for_each(|key| counted.limits.take(key, action, now))
    }

    /// Refuses a client that owes for rows it had read.
    ///
    /// # Errors
    /// [`Throttled`] until it owes nothing.
    pub fn allow_rows(&self) -> Result<(), Throttled> {
        let Some(Counted { limits, .. }) = &self.0 else {
            return Ok(());
        };
        self.keys().try_for_each(|key| limits.owes_no_rows(key))
    }

    /// Refuses a client whose address has shown too many tokens and sessions that were not good.
    ///
    /// # Errors
    /// [`Throttled`] until it may show another.
    pub fn may_show(&self) -> Result<(), Throttled> {
        let Some(Counted { limits, .. }) = &self.0 else {
            return Ok(());
        };
        self.keys().try_for_each(|key| limits.may_show(key))
    }

    /// Counts rows that have been read for the client, more than its limit if need be.
    pub fn charge_rows(&self, rows: usize) {
        let Some(Counted { limits, .. }) = &self.0 else {
            return;
        };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        for key in self.keys() {
            if let Some(rate) = limits.rules(key).rows {
                let now = Instant::now();
                limits
                    .buckets()
                    .charge((key, LimitedAction::Row), rate, rows, now);
            }
        }
    }

    /// Returns the pools that bound the client's answers.
    #[must_use]
    pub fn answer_pools(&self) -> Vec<MemoryPool> {
        let Some(Counted { limits, .. }) = &self.0 else {
            return Vec::new();
        };
        let pool = |key| {
            let mib = limits.rules(key).answer_memory_mib;
            (mib > 0).then(|| limits.answers.of(key, mib))
        };
        self.keys().filter_map(pool).collect()
    }

    /// Counts an answer for which the client's other answers leave no memory.
    #[must_use]
    pub fn no_answer_memory(&self) -> Throttled {
        if let Some(Counted { limits, .. }) = &self.0
            && let Some(key) = self.keys().last()
        {
            limits.metrics.limited("answer_memory", key.label());
        }
        Throttled {
            limit: "answer_memory",
            wait: UNTIL_AN_ANSWER_IS_READ,
        }
    }

    fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.0.iter().flat_map(Counted::keys)
    }

    /// Counts a socket that the client wants to open.
    ///
    /// # Errors
    /// [`Throttled`] if it has tried too often or has too many.
    pub fn open_socket(&self) -> Result<SocketSeat, Throttled> {
        let mut seat = SocketSeat {
            meter: self.clone(),
            held: Vec::new(),
        };
        if let Some(counted) = &self.0 {
            counted.keys().try_for_each(|key| seat.take(key))?;
        }
        Ok(seat)
    }
}

/// A socket that is open or about to be; it counts as one until this is dropped.
#[derive(Default)]
pub struct SocketSeat {
    meter: Meter,
    held: Vec<open::Held>,
}

impl SocketSeat {
    /// Notes the user who opens the socket, once they are known: it counts for the user too.
    ///
    /// # Errors
    /// As [`Meter::is_user`] and [`Meter::open_socket`].
    pub fn is_user(&mut self, id: &str) -> Result<(), Throttled> {
        self.meter.is_user(id)?;
        let user = self.meter.0.as_ref().and_then(|counted| counted.user.get());
        user.copied().map_or(Ok(()), |key| self.take(key))
    }

    fn take(&mut self, key: ClientKey) -> Result<(), Throttled> {
        let Some(Counted { limits, .. }) = &self.meter.0 else {
            return Ok(());
        };
        limits.take(key, LimitedAction::Socket, Instant::now())?;
        let most = limits.rules(key).open_sockets;
        if most == 0 {
            return Ok(());
        }
        let Some(held) = limits.open.enter(key, most) else {
            limits.metrics.limited("open_sockets", key.label());
            return Err(Throttled {
                limit: "open_sockets",
                wait: UNTIL_A_SOCKET_ENDS,
            });
        };
        self.held.push(held);
        Ok(())
    }

    /// Returns the client of the socket.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}
