//! Events of ours that have come back to us.
//!
//! Every subscriber receives what is published, its sender too, by another connection than that of
//! the answer. An event stays here until it has come back. It is delivered from here if no
//! subscriber is known to have received it, if the subscription has ended before it came back, and
//! before a newer one of its channel is delivered so. If it comes back after all, it is passed
//! over.

use std::{collections::VecDeque, sync::Arc};

use crate::chat::Event;

/// Events between their publishing and the time they cannot come back any more.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// In the order of publishing, which is that of coming back.
    open: VecDeque<Echo>,
    next: u64,
}

#[derive(Debug)]
struct Echo {
    number: u64,
    channel: String,
    bytes: Vec<u8>,
    /// Taken when it is delivered from here.
    event: Option<Arc<Event>>,
    /// True if the publish has ended.
    is_settled: bool,
    state: EchoState,
}

/// True if a subscriber received the event, ourselves included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    No,
    /// There was no answer.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum EchoState {
    /// It has not come back.
    Out,
    /// It has come back, and the publish has not ended.
    Back,
    /// Delivered from here: an echo would be the second.
    Delivered,
}

impl Echo {
    fn deliver(&mut self) -> Option<Arc<Event>> {
        self.state = EchoState::Delivered;
        self.event.take()
    }
}

impl Echoes {
    /// Notes what is about to be published; returns its number.
    pub fn expect(&mut self, channel: &str, bytes: &[u8], event: &Arc<Event>) -> u64 {
        self.push(channel, bytes, Some(Arc::clone(event)))
    }

    /// Notes events that have been delivered from here and are about to be published again; returns
    /// their numbers.
    pub fn expect_known<'a>(
        &mut self,
        messages: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Vec<u64> {
        messages
            .map(|(channel, bytes)| self.push(channel, bytes, None))
            .collect()
    }

    /// Without an event it has been delivered.
    fn push(&mut self, channel: &str, bytes: &[u8], event: Option<Arc<Event>>) -> u64 {
        self.next += 1;
        self.open.push_back(Echo {
            number: self.next,
            channel: channel.to_owned(),
            bytes: bytes.to_vec(),
            is_settled: event.is_none(),
            state: event
                .as_ref()
                .map_or(EchoState::Delivered, |_| EchoState::Out),
            event,
        });
        self.next
    }

    /// These have not been heard by anybody, and will not come back.
    pub fn drop_known(&mut self, numbers: &[u64]) {
        if !numbers.is_empty() {
            self.open.retain(|echo| !numbers.contains(&echo.number));
        }
    }

    /// Something came by the subscription. Returns whether it has been delivered from here.
    pub fn is_known(&mut self, channel: &str, bytes: &[u8]) -> bool {
        let place = self.open.iter().position(|echo| {
            echo.state != EchoState::Back && echo.channel == channel && echo.bytes == bytes
        });
        let Some((place, echo)) = place.and_then(|it| Some((it, self.open.get_mut(it)?))) else {
            return false;
        };
        let was = echo.state;
        echo.state = EchoState::Back;
        if echo.is_settled {
            self.open.remove(place);
        }
        if place > 0 {
            // Events published to the channel before that have not come back were published before
            // we were subscribed.
            let mut number = 0;
            self.open.retain(|echo| {
                number += 1;
                number > place || !echo.is_settled || echo.channel != channel
            });
        }
        was == EchoState::Delivered
    }

    /// Notes the end of a publish. `is_ours` says whether we are subscribed to the channel. If no
    /// subscriber is known to have received the event and it has not come back, returns what has to
    /// be delivered from here, in its order: what has not come back of the channel's events before
    /// it, and itself.
    pub fn settle(&mut self, number: u64, heard: Heard, is_ours: bool) -> Vec<Arc<Event>> {
        let place = self.open.iter().position(|echo| echo.number == number);
        let Some((place, echo)) = place.and_then(|it| Some((it, self.open.get_mut(it)?))) else {
            return Vec::new();
        };
        echo.is_settled = true;
        let may_come = match heard {
            Heard::Yes => is_ours,
            Heard::No => false,
            Heard::Unknown => true,
        };
        let mut missing = Vec::new();
        if echo.state == EchoState::Out && heard != Heard::Yes {
            let channel = echo.channel.clone();
            let until_it = self.open.iter_mut().take(place + 1);
            for echo in until_it.filter(|echo| echo.channel == channel) {
                if echo.is_settled && echo.state == EchoState::Out {
                    missing.extend(echo.deliver());
                }
            }
        }
        let is_back = |echo: &Echo| echo.state == EchoState::Back;
        if !may_come || self.open.get(place).is_some_and(is_back) {
            self.open.remove(place);
        }
        missing
    }

    /// We are no longer subscribed to this channel.
    pub fn leave(&mut self, channel: &str) {
        let stays = |echo: &Echo| !echo.is_settled || echo.channel != channel;
        self.open.retain(stays);
    }

    /// The subscriptions have ended. Returns what has to be delivered from here with its channel,
    /// in its order: what has not come back. Only what is still being published can come by others.
    pub fn forget(&mut self) -> Vec<(String, Arc<Event>)> {
        let mut missing = Vec::new();
        self.open.retain_mut(|echo| {
            if echo.state == EchoState::Out
                && let Some(event) = echo.deliver()
            {
                missing.push((echo.channel.clone(), event));
            }
            !echo.is_settled
        });
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    /// Returns an event that its number distinguishes from others.
    fn event(number: i64) -> Arc<Event> {
        Arc::new(Event::Foreign(Value::Int(number.into())))
    }

    fn expect(echoes: &mut Echoes, number: i64) -> u64 {
        let bytes = number.to_string();
        echoes.expect("g", bytes.as_bytes(), &event(number))
    }

    fn comes_back(echoes: &mut Echoes, number: i64) -> bool {
        echoes.is_known("g", number.to_string().as_bytes())
    }

    #[test]
    fn an_event_that_was_heard_is_left_to_the_subscription() {
        let mut echoes = Echoes::default();
        let number = expect(&mut echoes, 1);
        assert!(echoes.settle(number, Heard::Yes, true).is_empty());
        assert!(!comes_back(&mut echoes, 1), "the echo is the delivery");
        assert!(echoes.open.is_empty());
    }

    #[test]
    fn one_that_came_back_before_its_failure_is_not_delivered_again() {
        let mut echoes = Echoes::default();
        let number = expect(&mut echoes, 1);
        assert!(!comes_back(&mut echoes, 1));
        assert!(echoes.settle(number, Heard::Unknown, true).is_empty());
        assert!(echoes.open.is_empty());
    }

    #[test]
    fn one_delivered_from_here_is_passed_over_when_it_comes_back() {
        let mut echoes = Echoes::default();
        let number = expect(&mut echoes, 1);
        assert_eq!(echoes.settle(number, Heard::Unknown, true), [event(1)]);
        assert!(!comes_back(&mut echoes, 2), "another event");
        assert!(comes_back(&mut echoes, 1));
        assert!(!comes_back(&mut echoes, 1), "an equal event of others");
    }

    #[test]
    fn one_that_nobody_heard_cannot_come_back() {
        let mut echoes = Echoes::default();
        let number = expect(&mut echoes, 1);
        assert_eq!(echoes.settle(number, Heard::No, true), [event(1)]);
        assert!(!comes_back(&mut echoes, 1), "an equal event of others");
    }

    #[test]
    fn a_new_connection_brings_back_nothing_old() {
        let mut echoes = Echoes::default();
        let number = expect(&mut echoes, 1);
        assert_eq!(echoes.settle(number, Heard::Unknown, true), [event(1)]);
        assert!(echoes.forget().is_empty());
        assert!(!comes_back(&mut echoes, 1));
    }

    #[test]
    fn equal_events_are_told_apart() {
        let mut echoes = Echoes::default();
        let (one, two) = (expect(&mut echoes, 1), expect(&mut echoes, 1));
        assert!(!comes_back(&mut echoes, 1));
        assert!(echoes.settle(one, Heard::Unknown, true).is_empty());
        assert_eq!(echoes.settle(two, Heard::No, true), [event(1)]);
    }

    #[test]
    fn what_was_heard_and_is_lost_on_its_way_back_comes_before_what_is_newer() {
        let mut echoes = Echoes::default();
        let (one, two) = (expect(&mut echoes, 1), expect(&mut echoes, 2));
        let elsewhere = echoes.expect("h", b"3", &event(3));
        for number in [one, elsewhere] {
            assert!(echoes.settle(number, Heard::Yes, true).is_empty());
        }
        let both = [event(1), event(2)];
        assert_eq!(echoes.settle(two, Heard::Unknown, true), both);
        let rest = [("h".to_owned(), event(3))];
        assert_eq!(echoes.forget(), rest);
        assert!(echoes.forget().is_empty() && echoes.open.is_empty());
    }

    #[test]
    fn what_is_being_published_when_the_subscription_ends_is_delivered_once() {
        for (heard, comes) in [(Heard::Yes, true), (Heard::Yes, false), (Heard::No, false)] {
            let mut echoes = Echoes::default();
            let number = expect(&mut echoes, 1);
            assert_eq!(echoes.forget(), [("g".to_owned(), event(1))]);
            assert!(!comes || comes_back(&mut echoes, 1), "by a new one");
            assert!(echoes.settle(number, heard, true).is_empty());
            echoes.forget();
            assert!(echoes.open.is_empty());
        }
    }

    #[test]
    fn what_cannot_come_back_is_not_waited_for() {
        let mut echoes = Echoes::default();
        let early = expect(&mut echoes, 1);
        assert!(echoes.settle(early, Heard::Yes, false).is_empty());
        assert!(echoes.open.is_empty(), "we were not subscribed");
        let (joining, next) = (expect(&mut echoes, 2), expect(&mut echoes, 3));
        for number in [joining, next] {
            assert!(echoes.settle(number, Heard::Yes, true).is_empty());
        }
        assert!(!comes_back(&mut echoes, 3));
        assert!(echoes.open.is_empty(), "they come back in their order");
        let last = expect(&mut echoes, 4);
        assert!(echoes.settle(last, Heard::Yes, true).is_empty());
        echoes.leave("g");
        assert!(echoes.forget().is_empty());
    }
}
