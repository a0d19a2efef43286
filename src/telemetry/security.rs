//! The security log: what was refused and to whom, what was ended, which settings are in force. Its
//! lines have the target [`SECURITY`] and are written whatever `log.level` says of the rest; fields
//! tell the client's address, the user, the path or the conversation, and the reason, never what
//! people wrote and no token.
//!
//! A client that is refused again and again cannot fill the disk: of each kind of event, address
//! and reason [`EACH`] lines are written in a [`WINDOW`], and the rest is counted in one more. All
//! events are counted in `chatferry_security_events_total`.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    mem,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::request::Trail;
use crate::{
    config::log::SECURITY,
    id::ConversationId,
    metrics::{Metrics, SecurityEvent, Word},
};

/// Over which repeated events are gathered.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Lines in a window about one kind of event, address and reason.
const EACH: u32 = 5;

/// Lines in a window about one kind of event, besides those that count.
const LINES: u32 = 100;

/// Addresses and reasons that are counted apart in a window, for each kind of event.
const APART: usize = 100;

/// An event, and the client that it is about.
#[derive(Clone, Copy, Debug)]
pub struct SecurityFinding<'a> {
    pub event: SecurityEvent,
    /// A word or two of the program's own, or the names of settings.
    pub reason: &'a str,
    pub client: Option<IpAddr>,
    /// As whom the client is known.
    pub user: Option<&'a str>,
    pub place: AuditPlace<'a>,
}

/// The place that a finding is about.
#[derive(Clone, Copy, Debug)]
pub enum AuditPlace<'a> {
    Nothing,
    Path(&'a str),
    Conversation(ConversationId),
}

/// The reason why a request was refused: the answer has it among its extensions on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    pub event: SecurityEvent,
    pub reason: &'static str,
    pub user: Option<Arc<str>>,
}

impl RefusedRequest {
    #[must_use]
    pub fn new(event: SecurityEvent, reason: &'static str) -> Self {
        RefusedRequest {
            event,
            reason,
            user: None,
        }
    }
}

/// The security log of one server.
pub struct Audit {
    metrics: Arc<Metrics>,
    /// Held for moments only, never while a line is written.
    window: Mutex<Window>,
    hasher: RandomState,
}

/// The events since it began.
#[derive(Default)]
struct Window {
    began: Option<Instant>,
    /// In the order of [`Word::ALL`].
    tallies: Vec<Tally>,
}

#[derive(Default)]
struct Tally {
    lines: u32,
    /// By address and the hash of the reason.
    seen: HashMap<(Option<IpAddr>, u64), SeenFinding>,
    /// Events for which there was no more place in `seen`.
    others: u64,
}

struct SeenFinding {
    reason: Box<str>,
    lines: u32,
    gathered: u64,
}

impl Tally {
    /// Counts an event; returns whether it gets a line of its own.
    fn count(&mut self, client: Option<IpAddr>, reason: &str, hash: u64) -> bool {
        let is_full = self.seen.len() >= APART;
        let seen = match self.seen.entry((client, hash)) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.others += 1;
                return false;
            }
            Entry::Vacant(place) => place.insert(SeenFinding {
                reason: reason.into(),
                lines: 0,
                gathered: 0,
            }),
        };
        if seen.lines < EACH && self.lines < LINES {
            seen.lines += 1;
            self.lines += 1;
            return true;
        }
        seen.gathered += 1;
        false
    }

    /// Writes what was only counted.
    fn summarise(self, event: SecurityEvent) {
        let others = (None, "others", self.others);
        let seen = self.seen.iter();
        let seen = seen.map(|((client, _), seen)| (*client, &*seen.reason, seen.gathered));
        for (client, reason, repeats) in seen.chain([others]) {
            if repeats > 0 {
                let finding = SecurityFinding {
                    event,
                    reason,
                    client,
                    user: None,
                    place: AuditPlace::Nothing,
                };
                write(&finding, Some(repeats));
            }
        }
    }
}

impl Audit {
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Audit {
            metrics,
            window: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Logs and counts a finding.
    pub fn note(&self, finding: &SecurityFinding<'_>) {
        self.metrics.security_event(finding.event);
        let hash = self.hasher.hash_one(finding.reason);
        let client = finding.client.map(network);
        let is_written = {
            let mut window = self.window();
            window.began.get_or_insert_with(Instant::now);
            window
                .tallies
                .resize_with(SecurityEvent::ALL.len(), Tally::default);
            let tally = window.tallies.get_mut(finding.event.place());
            tally.is_some_and(|tally| tally.count(client, finding.reason, hash))
        };
        if is_written {
            write(finding, None);
        }
    }

    /// Logs why a request was refused, if it was.
    pub fn refused(&self, refused: &RefusedRequest, trail: &Trail) {
        self.note(&SecurityFinding {
            event: refused.event,
            reason: refused.reason,
            client: trail.client,
            user: refused.user.as_deref(),
            place: AuditPlace::Path(&trail.path()),
        });
    }

    /// Writes what was gathered, once the window is over. To be called every few seconds.
    pub fn upkeep(&self) {
        let is_over = |began: Instant| began.elapsed() >= WINDOW;
        if self.window().began.is_some_and(is_over) {
            self.flush();
        }
    }

    /// Writes what was gathered.
    pub fn flush(&self) {
        let window = mem::take(&mut *self.window());
        for (tally, event) in window.tallies.into_iter().zip(SecurityEvent::ALL) {
            tally.summarise(*event);
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(finding: &SecurityFinding<'_>, repeats: Option<u64>) {
    let SecurityFinding {
        event,
        reason,
        client,
        user,
        place,
    } = finding;
    let (path, conversation_id) = match *place {
        AuditPlace::Nothing => (None, None),
        AuditPlace::Path(path) => (Some(path), None),
        AuditPlace::Conversation(id) => (None, Some(id)),
    };
    tracing::info!(
        target: SECURITY,
        client = client.map(tracing::field::display),
        event = event.text(),
        reason,
        user,
        path,
        conversation_id = conversation_id.map(tracing::field::display),
        repeats,
        "{}",
        title(*event)
    );
}

/// Returns the words that a line begins with.
fn title(event: SecurityEvent) -> &'static str {
    match event {
        SecurityEvent::Identity => "identity refused",
        SecurityEvent::Policy => "policy refused",
        SecurityEvent::Origin => "origin refused",
        SecurityEvent::Limit => "limit reached",
        SecurityEvent::Closed => "socket closed",
        SecurityEvent::Disconnect => "sockets disconnected",
        SecurityEvent::Settings => "settings",
    }
}

/// Returns the address, or the /64 network of IPv6 that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(client: u8, times: u32, tally: &mut Tally) -> u32 {
        let client = Some(IpAddr::from([192, 0, 2, client]));
        let written = (0..times).filter(|_| tally.count(client, "invalid", 7));
        u32::try_from(written.count()).unwrap()
    }

    #[test]
    fn of_one_address_a_few_lines_are_written_and_the_rest_is_counted() {
        let mut all = Tally::default();
        assert_eq!(tally(1, 1000, &mut all), EACH);
        assert_eq!(tally(2, 3, &mut all), 3);
        let gathered: u64 = all.seen.values().map(|seen| seen.gathered).sum();
        assert_eq!(gathered, 1000 - u64::from(EACH));
    }

    #[test]
    fn any_number_of_addresses_fills_neither_the_disk_nor_the_memory() {
        let mut all = Tally::default();
        let written: u32 = (0..=255).map(|client| tally(client, 10, &mut all)).sum();
        assert_eq!((written, all.seen.len()), (LINES, APART));
        assert_eq!(all.others, 10 * (256 - 100));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
