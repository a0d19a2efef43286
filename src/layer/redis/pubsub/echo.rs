//! Which events of ours have come back to us.
//!
//! Everybody who is subscribed hears what is published, its sender too. When the answer to a
//! publish does not come, nobody knows whether it was done; then what has not come back is
//! delivered from here, and if it comes back after all, it is passed over.

use std::collections::VecDeque;

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
    state: State,
}

/// Whether anybody heard an event, ourselves among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    No,
    /// There was no answer.
    Unknown,
}

#[derive(Debug, PartialEq)]
enum State {
    /// The answer is still to come.
    Open,
    /// It has come back before the answer.
    Back,
    /// Delivered from here: an echo would be the second.
    Delivered,
}

impl Echoes {
    /// Notes what is about to be published; returns its number.
    pub fn expect(&mut self, channel: &str, bytes: &[u8]) -> u64 {
        self.next += 1;
        self.open.push_back(Echo {
            number: self.next,
            channel: channel.to_owned(),
            bytes: bytes.to_vec(),
            state: State::Open,
        });
        self.next
    }

    /// Notes events that have been delivered from here and are about to be published again; returns
    /// their numbers.
    pub fn expect_known<'a>(
        &mut self,
        messages: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Vec<u64> {
        let expect = |(channel, bytes): (&str, &[u8])| {
            let number = self.expect(channel, bytes);
            if let Some(echo) = self.open.back_mut() {
                echo.state = State::Delivered;
            }
            number
        };
        messages.map(expect).collect()
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
            echo.state != State::Back && echo.channel == channel && echo.bytes == bytes
        });
        match place.and_then(|place| Some((place, self.open.get_mut(place)?))) {
            Some((place, echo)) if echo.state == State::Delivered => {
                self.open.remove(place);
                true
            }
            Some((_, echo)) => {
                echo.state = State::Back;
                false
            }
            None => false,
        }
    }

    /// The publish has ended. Returns whether the event has to be delivered from here: nobody is
    /// known to have heard it, and it has not come back.
    pub fn settle(&mut self, number: u64, heard: Heard) -> bool {
        let place = self.open.iter().position(|echo| echo.number == number);
        let Some(mut echo) = place.and_then(|place| self.open.remove(place)) else {
            return false;
        };
        let missing = heard != Heard::Yes && echo.state == State::Open;
        if missing && heard == Heard::Unknown {
            echo.state = State::Delivered;
            self.open.push_front(echo);
        }
        missing
    }

    /// The subscriptions are gone: what was delivered from here cannot come back.
    pub fn forget(&mut self) {
        self.open.retain(|echo| echo.state != State::Delivered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_heard_is_left_to_the_subscription() {
        let mut echoes = Echoes::default();
        let number = echoes.expect("g", b"x");
        assert!(!echoes.settle(number, Heard::Yes));
        assert!(!echoes.is_known("g", b"x"), "the echo is the delivery");
    }

    #[test]
    fn one_that_came_back_before_its_failure_is_not_delivered_again() {
        let mut echoes = Echoes::default();
        let number = echoes.expect("g", b"x");
        assert!(!echoes.is_known("g", b"x"));
        assert!(!echoes.settle(number, Heard::Unknown));
    }

    #[test]
    fn one_delivered_from_here_is_passed_over_when_it_comes_back() {
        let mut echoes = Echoes::default();
        let number = echoes.expect("g", b"x");
        assert!(echoes.settle(number, Heard::Unknown));
        assert!(!echoes.is_known("g", b"y"), "another event");
        assert!(echoes.is_known("g", b"x"));
        assert!(
            !echoes.is_known("g", b"x"),
            "an equal event of somebody else"
        );
    }

    #[test]
    fn one_that_nobody_heard_cannot_come_back() {
        let mut echoes = Echoes::default();
        let number = echoes.expect("g", b"x");
        assert!(echoes.settle(number, Heard::No));
        assert!(
            !echoes.is_known("g", b"x"),
            "an equal event of somebody else"
        );
    }

    #[test]
    fn a_new_connection_brings_back_nothing_old() {
        let mut echoes = Echoes::default();
        let number = echoes.expect("g", b"x");
        assert!(echoes.settle(number, Heard::Unknown));
        echoes.forget();
        assert!(!echoes.is_known("g", b"x"));
    }

    #[test]
    fn equal_events_are_told_apart() {
        let mut echoes = Echoes::default();
        let (one, two) = (echoes.expect("g", b"x"), echoes.expect("g", b"x"));
        assert!(!echoes.is_known("g", b"x"));
        assert!(!echoes.settle(one, Heard::Unknown));
        assert!(echoes.settle(two, Heard::No));
    }
}
