//! Ids of new rows, which tell Chatferry's processes apart from Django.
//!
//! The last bits of an id are a checksum of the others, in the place of random ones. So a process
//! that finds a row in the store knows whether a Chatferry process has made it, and with that
//! whether its event had to come (`hub::sweep`). Django makes ids of version 4; where a project
//! makes others, one of 65,536 looks like ours.
//!
//! Without randomness an id cannot be made, and making one panics. The server has asked for some at
//! its start, and a system that gave it once gives it for ever (`getrandom(2)`).

use std::{sync::Mutex, time::Duration};

use uuid::{Builder, ContextV7, Uuid};

use crate::{
    id::Key,
    {config::IdVersion, python::datetime::Timestamp},
};

/// Makes ids.
#[derive(Debug)]
pub struct Ids {
    version: IdVersion,
    order: Mutex<ContextV7>,
}

impl Ids {
    #[must_use]
    pub fn new(version: IdVersion) -> Self {
        Ids {
            version,
            order: Mutex::new(ContextV7::new()),
        }
    }

    /// Makes an id of this time. Those of version 7 (RFC 9562) are in the order in which they are
    /// made, also within a millisecond and when the clock is set back.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> Uuid {
        let id = match self.version {
            IdVersion::V7 => {
                let at = since_1970(at);
                let (seconds, nanos) = (at.as_secs(), at.subsec_nanos());
                Uuid::new_v7(uuid::Timestamp::from_unix(&self.order, seconds, nanos))
            }
            IdVersion::V4 => Uuid::new_v4(),
        };
        let mut bytes = id.into_bytes();
        let (unique, sum) = bytes.split_at_mut(unique_bytes(id));
        // The low bytes of the checksum, as many as there is room for.
        let checksum = crc32fast::hash(unique).to_le_bytes();
        for (byte, of_sum) in sum.iter_mut().zip(checksum) {
            *byte = of_sum;
        }
        Uuid::from_bytes(bytes)
    }
}

/// Returns the least id of version 7 of this time.
#[must_use]
pub fn first(at: Timestamp) -> Uuid {
    let millis = u64::try_from(since_1970(at).as_millis()).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(at.micros()).unwrap_or_default())
}

/// Returns `true` for an id that a Chatferry process has made.
#[must_use]
pub fn is_own(id: impl Into<Key>) -> bool {
    let Some(id) = id.into().uuid() else {
        return false;
    };
    let (unique, sum) = id.as_bytes().split_at(unique_bytes(id));
    crc32fast::hash(unique).to_le_bytes().starts_with(sum)
}

/// Returns the bytes of an id before its checksum. Of version 7 they keep 58 bits besides the time,
/// of version 4 90 bits: enough for no two ids to be the same.
fn unique_bytes(id: Uuid) -> usize {
    if id.get_version_num() == 7 { 14 } else { 12 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_known_and_those_of_django_are_not() {
        let now = Timestamp::now();
        for version in [IdVersion::V4, IdVersion::V7] {
            let ids = Ids::new(version);
            assert!((0..1000).all(|_| is_own(ids.next(now))), "{version}");
        }
        assert!(!(0..1000).any(|_| is_own(Uuid::new_v4())));
    }

    #[test]
    fn ids_of_version_7_grow() {
        let (ids, now) = (Ids::new(IdVersion::V7), Timestamp::now());
        let set_back = Timestamp::from_micros(now.micros() - 5_000_000);
        let at = [now, set_back].into_iter().cycle();
        let ids: Vec<Uuid> = at.take(10_000).map(|at| ids.next(at)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn an_id_of_version_7_stands_between_the_first_of_its_time_and_of_the_next() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        for millis in [0, 1, 1_795_164_844_849] {
            let id = Ids::new(IdVersion::V7).next(at(millis));
            assert!((first(at(millis))..first(at(millis + 1))).contains(&id));
        }
        assert_eq!(first(at(-1)), first(at(0)));
    }
}
