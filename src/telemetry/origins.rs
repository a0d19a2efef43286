//! Origins whose pages were not let open a socket: each is logged once.

use std::sync::{Mutex, PoisonError};

/// Origins that are remembered. A client that is no browser can send any number of them.
const MOST: usize = 64;

/// The origins that were refused and logged.
#[derive(Default)]
pub struct RefusedOrigins(Mutex<Vec<String>>);

impl RefusedOrigins {
    /// Notes an origin. Returns whether it is new and has to be logged.
    pub fn note(&self, origin: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < MOST && !known.iter().any(|known| known == origin);
        if is_new {
            known.push(origin.to_owned());
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_new_once_and_no_more_are_kept_than_fit() {
        let refused = RefusedOrigins::default();
        assert!(refused.note("https://a") && !refused.note("https://a"));
        let news = (0..2 * MOST).filter(|number| refused.note(&number.to_string()));
        assert_eq!(news.count(), MOST - 1);
    }
}
