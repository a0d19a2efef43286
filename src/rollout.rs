//! The share of conversations that is served here: stable, known from the conversation's id alone,
//! so that every process and every proxy in front finds the same.
//!
//! The last four hex digits of the id are read as a number, which is random in ids of version 4
//! and 7; the conversation is served here if that number is less than 65536 × percent / 100. In
//! `HAProxy`'s words, with the id in `txn.id`:
//! `var(txn.id),bytes(32,4),hex2i,mul(100),div(65536) lt PERCENT`. Who was served here at a
//! smaller percentage stays here at a larger one.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{
    config::{self, Config, OnChange},
    id::{ConversationId, Key},
    shutdown::spread,
};

/// Side that serves a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Here,
    Django,
}

/// Ends when a socket is to be closed because its conversation has moved.
pub type Moved = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The share that is served here now, where there is a Django for the others.
pub struct Rollout {
    live: watch::Sender<Live>,
    /// Time over which the sockets of a conversation that moves are closed.
    spread: Duration,
}

/// Settings in force, which SIGHUP changes.
#[derive(Clone, Copy, PartialEq)]
struct Live {
    percent: u8,
    on_change: OnChange,
}

impl From<&config::Gateway> for Live {
    fn from(settings: &config::Gateway) -> Self {
        Live {
            percent: settings.rollout_percent,
            on_change: settings.on_change,
        }
    }
}

impl Rollout {
    /// Returns the rollout of these settings, or `None` without an upstream: all is served here.
    #[must_use]
    pub fn of(config: &Config) -> Option<Arc<Self>> {
        config.gateway.upstream.as_ref()?;
        Some(Arc::new(Rollout {
            live: watch::Sender::new((&config.gateway).into()),
            spread: Duration::from_secs(config.server.drain_s),
        }))
    }

    /// Takes over the settings that may change while the server runs.
    pub fn reload(&self, settings: &config::Gateway) {
        self.live.send_if_modified(|live| {
            let before = std::mem::replace(live, settings.into());
            *live != before
        });
    }

    /// Returns the percentage of the conversations that is served here.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.live.borrow().percent
    }

    /// Waits until the conversation is not `side`'s any more and its sockets are to be closed, and
    /// then for this socket's own moment within the window; a conversation that comes back before
    /// it keeps its socket.
    #[must_use]
    pub fn moved(&self, conversation: ConversationId, side: Side) -> Moved {
        let (mut live, window) = (self.live.subscribe(), self.spread);
        let leaves = move |live: &Live| {
            live.on_change == OnChange::Drain && side_of(conversation, live.percent) != side
        };
        Box::pin(async move {
            loop {
                if live.wait_for(leaves).await.is_err() {
                    // The server is gone, and its drain closes what is left.
                    std::future::pending::<()>().await;
                }
                tokio::select! {
                    () = sleep(spread(window)) => return,
                    back = live.wait_for(|live| !leaves(live)) => drop(back),
                }
            }
        })
    }
}

/// Returns the side that serves a conversation when `percent` of them are served here: 0 is none,
/// 100 all.
#[must_use]
pub fn side_of(conversation: ConversationId, percent: u8) -> Side {
    // The last bits of a UUID are random; numbers follow each other.
    let number = match conversation.0 {
        Key::Uuid(id) => id.as_u128() & 0xffff,
        Key::Number(number) => u128::from(crc32fast::hash(&number.to_be_bytes()) & 0xffff),
    };
    if is_within(number, percent) {
        Side::Here
    } else {
        Side::Django
    }
}

/// Returns whether a number of 16 bits is among the first `percent` of all.
#[must_use]
pub fn is_within(number: u128, percent: u8) -> bool {
    number * 100 < u128::from(percent) << 16
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ids() -> impl Iterator<Item = ConversationId> {
        // Spread like random ids, and the same in each run.
        (0..10_000_u128).map(|n| {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 32;
            Uuid::from_u128(id).into()
        })
    }

    fn share(percent: u8) -> usize {
        ids()
            .filter(|id| side_of(*id, percent) == Side::Here)
            .count()
    }

    #[test]
    fn none_and_all_are_exact() {
        assert_eq!(share(0), 0);
        assert_eq!(share(100), 10_000);
        let last = Uuid::from_u128(u128::MAX).into();
        assert_eq!(side_of(last, 99), Side::Django);
        assert_eq!(side_of(last, 100), Side::Here);
        assert_eq!(side_of(Uuid::nil().into(), 0), Side::Django);
        assert_eq!(side_of(Uuid::nil().into(), 1), Side::Here);
    }

    #[test]
    fn a_percentage_is_about_that_share_of_the_conversations() {
        for percent in [1, 10, 50, 90] {
            let off = share(percent).abs_diff(usize::from(percent) * 100);
            assert!(off < 150, "{percent}: off by {off} of 10000");
        }
    }

    #[test]
    fn who_is_here_at_a_smaller_share_is_here_at_a_larger_one() {
        for id in ids().take(500) {
            let mut before = Side::Django;
            for percent in 0..=100 {
                let now = side_of(id, percent);
                assert!(before == Side::Django || now == Side::Here);
                before = now;
            }
        }
    }

    #[test]
    fn the_documented_rule_holds() {
        // 0x1999 = 6553 is below 10 % of 65536, 0x199a is not.
        for (id, side) in [
            ("95031212-7823-4748-bb78-b212d36b1999", Side::Here),
            ("95031212-7823-4748-bb78-b212d36b199a", Side::Django),
        ] {
            assert_eq!(side_of(id.parse().unwrap(), 10), side, "{id}");
        }
    }
}
