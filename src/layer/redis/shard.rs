//! The host that a name lives on: stands in for `RedisChannelLayer.consistent_hash`.
//!
//! Every process must list the same hosts in the same order: the order is the index that comes out
//! here.

/// Returns the index of the host for `name` among `hosts`; 0 if there is only one.
///
/// The low twelve bits of CRC-32 (as zlib's), spread over the hosts in doubles as Python does it:
/// whole numbers would differ from 186 hosts on.
#[must_use]
pub fn shard(name: &[u8], hosts: usize) -> usize {
    if hosts < 2 {
        return 0;
    }
    let low = crc32fast::hash(name) & 0xFFF;
    spread(low, hosts).min(hosts - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "as Python computes it; the result is between 0 and the number of hosts"
)]
fn spread(low: u32, hosts: usize) -> usize {
    (f64::from(low) / (4096.0 / hosts as f64)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_everything() {
        assert_eq!(shard(b"room_1", 1), 0);
        assert_eq!(shard(b"room_1", 0), 0);
    }

    /// Checklist 8.
    #[test]
    fn doubles_and_not_whole_numbers_decide_at_186_hosts() {
        assert_eq!(spread(2048, 186), 92);
        assert_eq!(2048 * 186 / 4096, 93);
    }
}
