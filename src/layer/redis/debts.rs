//! The debts of a sending task, by the host that it owes them to.
//!
//! For each host that something is owed to there is a lane: a call of unknown outcome, which is
//! repeated before all else, and a [`Ledger`]. Without debts there is no lane, and nothing is kept.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    codec::Fields,
    inbox::Inbox,
    ledger::{Ledger, Owed, Payment},
};
use crate::{
    clock::Clock,
    config::Serializer,
    layer::{
        CONTROL, LayerError,
        control::{Control, Notice},
    },
    metrics::Metrics,
    python::datetime::Timestamp,
};

/// Most debts that are paid together, and the time until the next: a queue takes 100 entries if
/// that is not set, and must not overflow with what is late.
const BATCH: usize = 50;
const BETWEEN: Duration = Duration::from_millis(10);

/// Time that a queue that has overflowed all the same is given to be emptied.
const FULL: Duration = Duration::from_millis(250);

/// Between two looks whether a host is back.
const LOOK: Duration = Duration::from_millis(50);

/// The longest between two attempts while a host refuses.
const MOST: Duration = Duration::from_secs(2);

/// An event on its way to one group.
pub struct OwedItem {
    /// Its name; on the pub/sub layer that of its Redis channel.
    pub group: String,
    pub fields: Fields,
    /// Taken when the event came, and never the same twice: the order in the queues.
    pub score: f64,
    /// When it was first sent.
    pub since: Timestamp,
    /// True if it is owed if it cannot be sent.
    pub keeps: bool,
    /// Notice that takes its place if it is owed.
    pub notice: Option<Notice>,
}

/// An event and its place in what is sent together.
pub type Placed = (usize, OwedItem);

impl OwedItem {
    /// Returns the debt for it; nothing if it does not keep.
    fn payment(self) -> Option<Payment> {
        let OwedItem {
            group,
            fields,
            since,
            keeps,
            notice,
            ..
        } = self;
        match notice {
            Some(notice) => Some(Payment::Notice(notice)),
            None if keeps => Some(Payment::Event {
                group,
                owed: Owed { fields, since },
            }),
            None => None,
        }
    }

    /// Returns the item to send for a debt, which takes a new place in the order.
    fn of(payment: Payment, score: f64, wire: &Wire) -> Option<Self> {
        let (group, fields, since, notice) = match payment {
            Payment::Event { group, owed } => {
                let mut fields = owed.fields;
                fields.mark(owed.since);
                (group, fields, owed.since, None)
            }
            Payment::Notice(notice) => {
                let name = |group: &String| wire.group(group).to_owned();
                let group = notice.group.as_ref().map(name);
                let since = notice.since;
                let event = Control::ReadAgain(Notice { group, since }).event();
                let fields = Fields::new(wire.format, &event, None).ok()?;
                (
                    wire.group_prefix.clone() + CONTROL,
                    fields,
                    since,
                    Some(notice),
                )
            }
        };
        Some(OwedItem {
            group,
            fields,
            score,
            since,
            keeps: true,
            notice,
        })
    }
}

/// Wire format of a layer.
pub struct Wire {
    pub format: Serializer,
    /// Prefix of the name of a group in [`OwedItem::group`].
    pub group_prefix: String,
}

impl Wire {
    fn group<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(&self.group_prefix).unwrap_or(name)
    }
}

/// Next items to try.
pub enum Due {
    /// A call that got no answer, to be repeated with its number.
    Repeat(Unsettled),
    /// Events that are owed, in their order.
    Again(Vec<Placed>),
}

/// Everything that one sending task owes.
pub struct Debts {
    lanes: BTreeMap<usize, Lane>,
    /// Events shown in the metrics.
    shown: usize,
    /// True if this task is counted in `owing`.
    owes: bool,
    /// Number of sending tasks that owe something.
    owing: watch::Sender<usize>,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
}

/// Debts to one host.
#[derive(Default)]
struct Lane {
    unsettled: Option<Unsettled>,
    ledger: Ledger,
    /// One of several groups was refused: each is sent alone, so that it keeps only itself.
    one_by_one: bool,
    /// When to try again.
    next: Option<Instant>,
    pause: Duration,
    /// Error of the last attempt.
    why: Option<LayerError>,
}

/// A call that got no answer.
pub struct Unsettled {
    pub number: u64,
    /// When it failed.
    pub failed: Timestamp,
    pub items: Vec<Placed>,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.unsettled.is_none() && self.ledger.is_empty()
    }

    fn len(&self) -> usize {
        let unsettled = self.unsettled.as_ref();
        unsettled.map_or(0, |it| it.items.len()) + self.ledger.len()
    }

    fn wait(&mut self) {
        self.pause = (self.pause * 2).clamp(LOOK, MOST);
        self.next = Some(Instant::now() + self.pause);
    }
}

impl Debts {
    pub fn new(inbox: &Inbox, metrics: Arc<Metrics>) -> Self {
        Debts {
            clock: Arc::clone(&inbox.clock),
            lanes: BTreeMap::new(),
            shown: 0,
            owes: false,
            owing: inbox.owing.clone(),
            metrics,
        }
    }

    /// Returns whether nothing is owed to a host.
    pub fn are_none(&self, host: usize) -> bool {
        !self.lanes.contains_key(&host)
    }

    /// Why an event of this group for a host has to wait, if it has.
    pub fn block(&self, host: usize, group: &str) -> Option<LayerError> {
        let lane = self.lanes.get(&host)?;
        let waits = lane.unsettled.is_some() || lane.ledger.owes(group);
        let why = || LayerError::Unavailable("earlier events wait".into());
        waits.then(|| lane.why.clone().unwrap_or_else(why))
    }

    /// Adds an event behind what is owed.
    pub fn owe(&mut self, host: usize, item: OwedItem) {
        let lane = self.lanes.entry(host).or_default();
        let dropped = match item.payment() {
            Some(Payment::Event { group, owed }) => lane.ledger.owe(&group, owed),
            Some(notice) => {
                lane.ledger.put_back(vec![notice]);
                0
            }
            None => 0,
        };
        if lane.next.is_none() {
            lane.wait();
        }
        self.metrics.layer_given_up(dropped);
        self.show();
    }

    /// A call failed: without an answer it may have been executed.
    pub fn failed(&mut self, host: usize, number: u64, items: Vec<Placed>, error: &LayerError) {
        let lane = self.lanes.entry(host).or_default();
        if matches!(error, LayerError::Unavailable(_)) {
            lane.unsettled = Some(Unsettled {
                number,
                failed: Timestamp::by(&self.clock),
                items,
            });
            lane.why = Some(error.clone());
            lane.pause = Duration::ZERO;
            lane.wait();
            self.show();
        } else {
            self.refused(host, items, error);
        }
    }

    /// The host would not take these events, in their order.
    pub fn refused(&mut self, host: usize, items: Vec<Placed>, error: &LayerError) {
        if items.is_empty() {
            return;
        }
        let lane = self.lanes.entry(host).or_default();
        lane.one_by_one = true;
        lane.why = Some(error.clone());
        let payments = items.into_iter().filter_map(|(_, item)| item.payment());
        lane.ledger.put_back(payments.collect());
        lane.ledger.let_others();
        lane.wait();
        self.show();
    }

    /// It can no longer be found out whether these events were sent. They are not sent again: the
    /// other Chatferry processes are to read the conversations, and Python's are shown nothing
    /// twice.
    pub fn unknown(&mut self, host: usize, items: Vec<Placed>) {
        let lane = self.lanes.entry(host).or_default();
        let payments = items.into_iter().filter_map(|(_, item)| item.payment());
        let mut events = 0;
        let notice = |payment| match payment {
            Payment::Event { group, owed } => {
                events += 1;
                let (group, since) = (Some(group), owed.since);
                Payment::Notice(Notice { group, since })
            }
            Payment::Notice(notice) => Payment::Notice(notice),
        };
        lane.ledger.put_back(payments.map(notice).collect());
        self.metrics.layer_given_up(events);
        self.show();
    }

    /// Waits until something may be tried again; for ever while nothing is owed.
    pub async fn due(&self) {
        let next = self.lanes.values().filter_map(|lane| lane.next).min();
        match next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Takes out what may be tried now, and for which host. `is_up` tells whether a host is there;
    /// `score` gives each event its new place.
    pub fn take(
        &mut self,
        is_up: impl Fn(usize) -> bool,
        score: impl Fn() -> f64,
        wire: &Wire,
    ) -> Option<(usize, Due)> {
        let to = self.next()?;
        self.bound(to);
        let lane = self.lanes.get_mut(&to)?;
        if !is_up(to) {
            lane.next = Some(Instant::now() + LOOK);
            return None;
        }
        lane.next = Some(Instant::now() + BETWEEN);
        if let Some(mut unsettled) = lane.unsettled.take() {
            for (_, item) in &mut unsettled.items {
                if item.notice.is_none() {
                    item.fields.mark(item.since);
                }
                // With the old place it would be swept out of a queue as expired.
                item.score = score();
            }
            self.metrics.layer_resent(unsettled.items.len());
            return Some((to, Due::Repeat(unsettled)));
        }
        let payments = lane.ledger.take(BATCH, lane.one_by_one).into_iter();
        let items = payments.filter_map(|payment| OwedItem::of(payment, score(), wire));
        let items: Vec<Placed> = items.enumerate().collect();
        self.metrics.layer_resent(items.len());
        Some((to, Due::Again(items)))
    }

    /// A queue was full when debts were paid.
    pub fn full(&mut self) {
        let next = Some(Instant::now() + FULL);
        for lane in self.lanes.values_mut() {
            lane.next = lane.next.max(next);
        }
    }

    /// Settles what was taken: empty lanes are removed.
    pub fn tried(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_empty());
        self.show();
    }

    /// Returns the host to which something may be tried now.
    fn next(&self) -> Option<usize> {
        let now = Instant::now();
        let due = |lane: &Lane| lane.next.is_some_and(|next| next <= now);
        let found = self.lanes.iter().find(|(_, lane)| due(lane));
        found.map(|(host, _)| *host)
    }

    /// Drops what is past the bounds.
    fn bound(&mut self, host: usize) {
        let Some(lane) = self.lanes.get_mut(&host) else {
            return;
        };
        let now = Timestamp::by(&self.clock);
        let is_old = |it: &Unsettled| {
            let first = it.items.first();
            first.is_some_and(|(_, item)| Ledger::is_past(item.since, now))
        };
        if let Some(unsettled) = lane.unsettled.take_if(|it| is_old(it)) {
            let items = unsettled.items.into_iter();
            let payments = items.filter_map(|(_, item)| item.payment());
            lane.ledger.put_back(payments.collect());
        }
        let dropped = lane.ledger.bound(now);
        self.metrics.layer_given_up(dropped);
        self.show();
    }

    fn show(&mut self) {
        let now = self.lanes.values().map(Lane::len).sum();
        self.metrics.layer_owed(self.shown, now);
        self.shown = now;
        self.count(!self.lanes.is_empty());
    }

    /// Counts this task among those that owe something, or no longer.
    fn count(&mut self, owes: bool) {
        match (std::mem::replace(&mut self.owes, owes), owes) {
            (false, true) => self.owing.send_modify(|tasks| *tasks += 1),
            (true, false) => self.owing.send_modify(|tasks| *tasks -= 1),
            _ => {}
        }
    }
}

impl Drop for Debts {
    fn drop(&mut self) {
        self.metrics.layer_owed(self.shown, 0);
        self.count(false);
    }
}
