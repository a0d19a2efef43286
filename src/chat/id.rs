//! Ids of new rows, which tell Chatferry's processes apart from Django.
//!
//! The last bits of an id are a checksum of the others, in the place of random ones. So a process
//! that finds a row in the store knows whether a Chatferry process has made it, and with that
//! whether its event had to come (`hub::sweep`). Django makes ids of version 4; where a project
//! makes others, one of 65,536 looks like ours.

use uuid::Uuid;

use crate::config::IdVersion;

/// Makes an id. Those of version 7 (RFC 9562) are in the order in which this process makes them,
/// also within a millisecond and when the clock is set back.
#[must_use]
pub fn new(version: IdVersion) -> Uuid {
    let id = match version {
        IdVersion::V7 => Uuid::now_v7(),
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

/// Returns `true` for an id that a Chatferry process has made.
#[must_use]
pub fn is_own(id: Uuid) -> bool {
    let (unique, sum) = id.as_bytes().split_at(unique_bytes(id));
    crc32fast::hash(unique).to_le_bytes().starts_with(sum)
}

/// Bytes of an id before its checksum. Of version 7 they keep 58 bits besides the time, of version 4
/// 90 bits: enough for no two ids to be the same.
fn unique_bytes(id: Uuid) -> usize {
    if id.get_version_num() == 7 { 14 } else { 12 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_known_and_those_of_django_are_not() {
        for version in [IdVersion::V4, IdVersion::V7] {
            assert!((0..1000).all(|_| is_own(new(version))), "{version}");
        }
        assert!(!(0..1000).any(|_| is_own(Uuid::new_v4())));
    }

    #[test]
    fn ids_of_version_7_grow() {
        let ids: Vec<Uuid> = (0..10_000).map(|_| new(IdVersion::V7)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
