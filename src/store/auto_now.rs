//! The two clock readings of a new row: `auto_now_add` fills `created_at`, `auto_now` fills
//! `updated_at`, and Django reads the clock for each.

use crate::python::datetime::Timestamp;

/// Returns `created_at` and `updated_at` of a row that is made at `first`, both later than `after`.
/// `again` is the second reading of the clock.
///
/// The original's two readings are some 100 µs apart and never equal, so clients have only ever
/// seen two different times; here the second is at least 1 µs later.
#[must_use]
pub fn auto_now(
    first: Timestamp,
    after: Option<Timestamp>,
    again: impl FnOnce() -> Timestamp,
) -> (Timestamp, Timestamp) {
    let created_at = after.map_or(first, |after| first.max(next(after)));
    (created_at, next(created_at).max(again()))
}

fn next(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.micros() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_row_was_created_before_it_was_updated() {
        for _ in 0..1000 {
            let (created_at, updated_at) = auto_now(Timestamp::now(), None, Timestamp::now);
            assert!(created_at < updated_at);
        }
    }

    #[test]
    fn a_new_row_is_later_than_the_one_before_even_if_the_clock_goes_back() {
        let ahead = Timestamp::from_micros(Timestamp::now().micros() + 1_000_000_000);
        let (created_at, updated_at) = auto_now(Timestamp::now(), Some(ahead), Timestamp::now);
        assert!(ahead < created_at && created_at < updated_at);
    }
}
