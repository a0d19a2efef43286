//! Many events at once to a broker that may refuse one and take the next.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Published, SinkError};
use crate::events::envelope::Outgoing;

/// Events in waves: the first event of each conversation at once, then the second of each, and so on.
/// An event is sent after the one before it of its conversation is confirmed, so none overtakes
/// another that has failed. After a wave with a failure, and when the time is over, there is no
/// further one.
pub struct Waves {
    /// Places of the events of each wave, the last first.
    left: Vec<Vec<usize>>,
    /// Those of the wave that is under way.
    sent: Vec<usize>,
    confirmed: Vec<bool>,
    failures: Vec<(usize, SinkError)>,
    until: Instant,
}

impl Waves {
    /// Begins with no further wave after `until`, but with the first.
    pub fn new(events: &[Outgoing], until: Instant) -> Self {
        let mut left = waves(events);
        left.reverse();
        Waves {
            left,
            sent: Vec::new(),
            confirmed: vec![false; events.len()],
            failures: Vec::new(),
            until,
        }
    }

    /// Returns the places of the events to be sent next, in whatever order.
    pub fn next(&mut self) -> Option<Vec<usize>> {
        let is_first = self.sent.is_empty();
        if !self.failures.is_empty() || (!is_first && Instant::now() >= self.until) {
            return None;
        }
        self.sent = self.left.pop()?;
        Some(self.sent.clone())
    }

    /// Notes the outcome of each event that was sent.
    pub fn note(&mut self, outcomes: Vec<Result<(), SinkError>>) {
        for (&place, outcome) in self.sent.iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.confirmed[place] = true,
                Err(error) => self.failures.push((place, error)),
            }
        }
    }

    /// Only what is confirmed without a gap counts: the rest comes again. A refusal counts once its
    /// event is the next one.
    pub fn published(self) -> Published {
        let next = self.confirmed.iter().position(|it| !it);
        let next = next.unwrap_or(self.confirmed.len());
        let counts = |(place, error): &(usize, SinkError)| {
            *place == next || matches!(error, SinkError::Away(_))
        };
        let failure = self.failures.into_iter().find(counts);
        Published {
            confirmed: next,
            failure: failure.map(|(_, error)| error),
        }
    }
}

/// Returns the places of the events of each wave.
fn waves(events: &[Outgoing]) -> Vec<Vec<usize>> {
    let mut counts = std::collections::HashMap::new();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let count: &mut usize = counts.entry(event.key.as_str()).or_default();
        if *count == waves.len() {
            waves.push(Vec::new());
        }
        waves[*count].push(place);
        *count += 1;
    }
    waves
}

/// Waits until a broker is connected, but no longer than that.
///
/// # Errors
/// The reason, if it is not.
pub async fn opened<T, E: Display>(
    opening: impl Future<Output = Result<T, E>>,
    patience: Duration,
) -> Result<T, String> {
    match timeout(patience, opening).await {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::datetime::Timestamp;

    fn events(keys: &[&str]) -> Vec<Outgoing> {
        let event = |(place, key): (usize, &&str)| Outgoing {
            id: place.to_string(),
            kind: "message.created".into(),
            key: (*key).into(),
            at: Timestamp::from_micros(0),
            body: "{}".into(),
            content_type: "application/json",
            attributes: Vec::new(),
        };
        keys.iter().enumerate().map(event).collect()
    }

    /// Publishes events of these conversations, of which the one at `bad` is refused. Returns the
    /// waves, how many are confirmed, and whether the next one is refused.
    fn published(keys: &[&str], bad: usize) -> (Vec<Vec<usize>>, usize, bool) {
        let mut sent = Vec::new();
        let mut waves = Waves::new(&events(keys), Instant::now() + Duration::from_secs(60));
        while let Some(wave) = waves.next() {
            let refused = |place: &usize| {
                if *place == bad {
                    Err(SinkError::Refused("bad".into()))
                } else {
                    Ok(())
                }
            };
            waves.note(wave.iter().map(refused).collect());
            sent.push(wave);
        }
        let Published { confirmed, failure } = waves.published();
        (sent, confirmed, failure.is_some())
    }

    #[test]
    fn an_event_waits_for_the_one_before_it_of_its_conversation() {
        let all = published(&["a", "a", "b", "a", "c"], 9);
        assert_eq!(all, (vec![vec![0, 2, 4], vec![1], vec![3]], 5, false));
    }

    #[test]
    fn nothing_follows_one_that_is_refused() {
        let refused = published(&["a", "b", "b", "a"], 1);
        assert_eq!(refused, (vec![vec![0, 1]], 1, true));
        // Its turn comes after that of an earlier one, which has to be sent first.
        let later = published(&["a", "a", "b"], 2);
        assert_eq!(later, (vec![vec![0, 2]], 1, false));
    }
}
