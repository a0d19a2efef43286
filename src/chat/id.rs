//! Ids of messages and receipts, which tell Chatferry's processes apart from Django.
//!
//! They are random (version 4) as Django's, but for the last 32 bits, which are a checksum of the
//! others. So a process that finds a row in the store knows whether a Chatferry process has made it,
//! and with that whether its event had to come (`hub::sweep`). 90 random bits are left: of a thousand
//! million ids two are the same once in a thousand million cases. One of four thousand million of
//! Django's ids looks like ours.

use uuid::Uuid;

/// Where the checksum begins.
const RANDOM: usize = 12;

/// A new id.
#[must_use]
pub fn new() -> Uuid {
    let mut bytes = Uuid::new_v4().into_bytes();
    let (random, sum) = bytes.split_at_mut(RANDOM);
    sum.copy_from_slice(&crc32fast::hash(random).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// Whether a Chatferry process has made this id.
#[must_use]
pub fn is_own(id: Uuid) -> bool {
    let (random, sum) = id.as_bytes().split_at(RANDOM);
    sum == crc32fast::hash(random).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_ours_is_known_and_one_of_django_is_not() {
        let ours: Vec<Uuid> = (0..1000).map(|_| new()).collect();
        assert!(ours.iter().all(|id| is_own(*id)));
        assert!(ours.iter().all(|id| id.get_version_num() == 4));
        assert!(!(0..1000).any(|_| is_own(Uuid::new_v4())));
    }
}
