//! Debts to one host: events that a sending task could not send, by group.
//!
//! Every host's sending task owns a ledger. An event that could not be passed on (no connection, no
//! answer, a refusal) stays here in the order of the calls, and whatever is sent to the same group
//! later queues behind it; other groups go on. When the host takes events again the debts are sent
//! first, to every member of the group as it is then, with the mark that lets a Chatferry process
//! pass over what it has shown already ([`RESENT`](super::codec::RESENT)).
//!
//! **Unknown outcomes.** A call that got no answer may have been executed. It keeps its number and
//! is repeated with it: the script notes the last number of each sending task in Redis, in the same
//! step in which it writes, and does nothing if it knows the number (see
//! [`script`](super::script)). So a call is executed once, however often it is sent and however
//! late its bytes arrive. Redis may have lost that note as well (a flush, a failover to a replica
//! that had not heard of it). On the core layer the event is then sent again: the memberships of
//! those that had it are gone too, and Chatferry's processes go by the mark. On the pub/sub layer
//! it is not, as Python's processes may have heard it: a notice takes its place, as past the
//! bounds.
//!
//! **Bounds.** [`EVENTS`] and [`BYTES`] for one host, and [`AGE`]. Past them a group's events are
//! dropped, the longest owed first, and one notice takes their place: it asks the other Chatferry
//! processes to read the conversation again since then ([`Notice`]). It goes through the control
//! group, of which only they are members, on the same host and before anything newer of the group.
//! Python's processes do not read again: what they miss is counted. More than [`GROUPS`]
//! such notices become a single one, for all groups.
//!
//! **Not kept**: typing, which is stale in seconds. Debts live as long as the process: what it
//! leaves behind when it dies is found in the store by the others (`crate::hub`'s sweep).

use std::collections::{HashMap, VecDeque};

use super::codec::Fields;
use crate::{layer::control::Notice, python::datetime::Timestamp};

/// Most events that are kept for one host.
pub const EVENTS: usize = 20_000;

/// Most bytes of events that are kept for one host, as they are sent.
pub const BYTES: usize = 16 << 20;

/// Seconds that an event is kept.
const AGE: i64 = 300;

/// Most groups with a notice of their own.
const GROUPS: usize = 10_000;

/// An event that is owed to a group.
pub struct Owed {
    pub fields: Fields,
    /// When it was first sent.
    pub since: Timestamp,
}

/// Something that is to be sent for a debt.
pub enum Payment {
    Event { group: String, owed: Owed },
    Notice(Notice),
}

/// The debts to one host. Empty, and without memory of its own, while nothing is wrong.
#[derive(Default)]
pub struct Ledger {
    groups: HashMap<String, Debt>,
    /// The groups in the order in which they began to be owed something.
    turns: VecDeque<String>,
    /// Since when every group is to be read again.
    all_since: Option<Timestamp>,
    events: usize,
    bytes: usize,
}

#[derive(Default)]
struct Debt {
    /// Since when the conversation is to be read again: events before these were dropped.
    notice: Option<Timestamp>,
    events: VecDeque<Owed>,
}

impl Debt {
    fn since(&self) -> Option<Timestamp> {
        self.notice
            .or_else(|| self.events.front().map(|owed| owed.since))
    }
}

impl Ledger {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.all_since.is_none()
    }

    /// Returns whether an event that was first sent at `since` is not kept any longer.
    #[must_use]
    pub fn is_past(since: Timestamp, now: Timestamp) -> bool {
        now.micros().saturating_sub(since.micros()) > AGE * 1_000_000
    }

    /// Events that are owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events
    }

    /// Returns whether anything that is sent to `group` now must wait.
    #[must_use]
    pub fn owes(&self, group: &str) -> bool {
        self.all_since.is_some() || self.groups.contains_key(group)
    }

    /// Adds an event behind what `group` is owed already. Returns how many events were dropped for
    /// it, which is for the metrics.
    #[must_use]
    pub fn owe(&mut self, group: &str, owed: Owed) -> usize {
        self.events += 1;
        self.bytes += owed.fields.size();
        let now = owed.since;
        if let Some(debt) = self.groups.get_mut(group) {
            debt.events.push_back(owed);
        } else {
            let events = VecDeque::from([owed]);
            let debt = Debt {
                notice: None,
                events,
            };
            self.groups.insert(group.to_owned(), debt);
            self.turns.push_back(group.to_owned());
        }
        self.bound(now)
    }

    /// Puts back what could not be sent, in its order and before everything newer.
    pub fn put_back(&mut self, payments: Vec<Payment>) {
        for payment in payments.into_iter().rev() {
            match payment {
                Payment::Event { group, owed } => {
                    self.events += 1;
                    self.bytes += owed.fields.size();
                    let debt = self.debt_at_front(group);
                    debt.events.push_front(owed);
                }
                Payment::Notice(Notice { group: None, since }) => {
                    self.all_since = Some(self.all_since.map_or(since, |all| all.min(since)));
                }
                Payment::Notice(Notice {
                    group: Some(group),
                    since,
                }) => {
                    let debt = self.debt_at_front(group);
                    debt.notice = Some(debt.notice.map_or(since, |known| known.min(since)));
                }
            }
        }
    }

    fn debt_at_front(&mut self, group: String) -> &mut Debt {
        if !self.groups.contains_key(&group) {
            self.turns.push_front(group.clone());
        }
        self.groups.entry(group).or_default()
    }

    /// Takes out what is to be sent next: a notice, which must be out before anything that follows
    /// it, or at most `most` events, of several groups or only one.
    pub fn take(&mut self, most: usize, one_group: bool) -> Vec<Payment> {
        let mut taken = Vec::new();
        if let Some(since) = self.all_since.take() {
            return vec![Payment::Notice(Notice { group: None, since })];
        }
        while taken.len() < most
            && let Some(group) = self.turns.pop_front()
        {
            let Some(debt) = self.groups.get_mut(&group) else {
                continue;
            };
            if debt.notice.is_some() && !taken.is_empty() {
                self.turns.push_front(group);
                break;
            }
            if let Some(since) = debt.notice.take() {
                if debt.events.is_empty() {
                    self.groups.remove(&group);
                } else {
                    self.turns.push_front(group.clone());
                }
                let group = Some(group);
                taken.push(Payment::Notice(Notice { group, since }));
                break;
            }
            let room = most.saturating_sub(taken.len()).min(debt.events.len());
            for owed in debt.events.drain(..room) {
                self.events -= 1;
                self.bytes -= owed.fields.size();
                let group = group.clone();
                taken.push(Payment::Event { group, owed });
            }
            if debt.events.is_empty() {
                self.groups.remove(&group);
            } else {
                self.turns.push_front(group);
            }
            if one_group && !taken.is_empty() {
                break;
            }
        }
        if self.turns.is_empty() {
            // The memory of a long outage is given back.
            *self = Ledger::default();
        }
        taken
    }

    /// The group whose turn it is comes last: it was refused, and others may not be.
    pub fn let_others(&mut self) {
        if let Some(group) = self.turns.pop_front() {
            self.turns.push_back(group);
        }
    }

    /// Drops what is past the bounds; returns how many events that were.
    pub fn bound(&mut self, now: Timestamp) -> usize {
        let mut dropped = 0;
        let mut place = 0;
        while let Some(group) = self.turns.get(place) {
            let is_past = self.events > EVENTS || self.bytes > BYTES;
            let Some(debt) = self.groups.get_mut(group) else {
                break;
            };
            let first = debt.events.front();
            let is_old = first.is_some_and(|owed| Ledger::is_past(owed.since, now));
            if debt.events.is_empty() {
                place += 1;
                continue;
            }
            if !is_past && !is_old {
                break;
            }
            debt.notice = debt.since();
            self.events -= debt.events.len();
            self.bytes -= debt.events.iter().map(|o| o.fields.size()).sum::<usize>();
            dropped += debt.events.len();
            debt.events = VecDeque::new();
            place += 1;
        }
        if dropped > 0 && self.groups.len() > GROUPS {
            self.forget_groups();
        }
        dropped
    }

    /// One notice for all groups instead of one for each that has no events left.
    fn forget_groups(&mut self) {
        let mut since = self.all_since;
        self.groups.retain(|_, debt| {
            let keep = !debt.events.is_empty();
            if let Some(notice) = debt.notice.filter(|_| !keep) {
                since = Some(since.map_or(notice, |all| all.min(notice)));
            }
            keep
        });
        self.all_since = since;
        let groups = &self.groups;
        self.turns.retain(|group| groups.contains_key(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::Event, config::Serializer, value::Value};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn owed(text: &str, seconds: i64) -> Owed {
        let members = [("type", "note"), ("text", text)];
        let members = members.map(|(name, value)| (name.into(), value.into()));
        let event = Event::Foreign(Value::Map(members.into()));
        Owed {
            fields: Fields::new(Serializer::Json, &event, None).unwrap(),
            since: at(seconds),
        }
    }

    /// `group@seconds` of events, `group!seconds` of notices.
    fn shown(payments: &[Payment]) -> Vec<String> {
        let show = |payment: &Payment| match payment {
            Payment::Event { group, owed } => {
                format!("{group}@{}", owed.since.micros() / 1_000_000)
            }
            Payment::Notice(Notice { group, since }) => {
                let group = group.as_deref().unwrap_or("*");
                format!("{group}!{}", since.micros() / 1_000_000)
            }
        };
        payments.iter().map(show).collect()
    }

    #[test]
    fn each_groups_events_come_out_in_their_order_and_nothing_is_left() {
        let mut ledger = Ledger::default();
        for (group, second) in [("g", 1), ("h", 2), ("g", 3), ("h", 4)] {
            assert_eq!(ledger.owe(group, owed("x", second)), 0);
        }
        assert!(ledger.owes("g") && ledger.owes("h") && !ledger.owes("i"));
        assert_eq!(shown(&ledger.take(3, false)), ["g@1", "g@3", "h@2"]);
        assert!(!ledger.owes("g") && ledger.owes("h"));
        assert_eq!(shown(&ledger.take(3, false)), ["h@4"]);
        assert!(ledger.is_empty());
        assert_eq!((ledger.len(), ledger.bytes), (0, 0));
    }

    #[test]
    fn what_is_put_back_stands_before_what_came_meanwhile() {
        let mut ledger = Ledger::default();
        for second in 1..=3 {
            let _ = ledger.owe("g", owed("x", second));
        }
        let taken = ledger.take(2, false);
        let _ = ledger.owe("h", owed("x", 4));
        let _ = ledger.owe("g", owed("x", 5));
        ledger.put_back(taken);
        assert_eq!(shown(&ledger.take(9, true)), ["g@1", "g@2", "g@3", "g@5"]);
        assert_eq!(shown(&ledger.take(9, true)), ["h@4"]);
        assert_eq!((ledger.len(), ledger.bytes), (0, 0));
    }

    #[test]
    fn a_group_that_is_refused_does_not_keep_others_waiting() {
        let mut ledger = Ledger::default();
        for group in ["bad", "good"] {
            let _ = ledger.owe(group, owed("x", 1));
        }
        let refused = ledger.take(9, true);
        ledger.put_back(refused);
        ledger.let_others();
        assert_eq!(shown(&ledger.take(9, true)), ["good@1"]);
        assert_eq!(shown(&ledger.take(9, true)), ["bad@1"]);
    }

    #[test]
    fn past_the_bounds_a_notice_takes_the_place_of_a_group_and_newer_events_follow_it() {
        let mut ledger = Ledger::default();
        for second in 0..3 {
            assert_eq!(ledger.owe("old", owed("x", second)), 0);
        }
        assert_eq!(ledger.owe("young", owed("x", 200)), 0);
        assert_eq!(ledger.owe("old", owed("x", 301)), 4);
        assert_eq!(ledger.owe("old", owed("x", 302)), 0);
        assert!(ledger.owes("old"));
        assert_eq!(shown(&ledger.take(9, false)), ["old!0"]);
        assert_eq!(shown(&ledger.take(9, false)), ["old@302", "young@200"]);
    }

    #[test]
    fn bytes_and_events_are_bounded() {
        let mut ledger = Ledger::default();
        let long = "x".repeat(1 << 20);
        let mut dropped = 0;
        for n in 0..40 {
            dropped += ledger.owe(&format!("g{n}"), owed(&long, 1));
            assert!(ledger.bytes <= BYTES);
        }
        assert!(dropped >= 24, "{dropped}");
        let mut ledger = Ledger::default();
        let mut dropped = 0;
        for n in 0..EVENTS + 10 {
            dropped += ledger.owe(&format!("g{}", n % 100), owed("x", 1));
            assert!(ledger.len() <= EVENTS);
        }
        assert!(dropped > 0);
    }

    #[test]
    fn very_many_groups_become_one_notice() {
        let mut ledger = Ledger::default();
        for n in 0..=GROUPS {
            let _ = ledger.owe(&format!("g{n}"), owed("x", 1));
        }
        assert!(ledger.bound(at(1000)) > GROUPS);
        assert!(ledger.owes("any group"));
        assert_eq!(shown(&ledger.take(9, false)), ["*!1"]);
        assert!(ledger.is_empty());
    }
}
