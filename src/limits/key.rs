//! The key that requests are counted by: an address or a user, in a few bytes whatever its length.

use std::net::IpAddr;

/// A client as the limits know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    V4(u32),
    /// The first half of an IPv6 address. One customer has all of a /64 network, and an address of
    /// it for each packet if he likes.
    V6(u64),
    /// A hash of the id, with a secret of the process. That two users share one is not to be
    /// expected before there are billions.
    User(u64),
}

impl ClientKey {
    /// An IPv4 address within IPv6 is the IPv4 address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => ClientKey::V4(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                ClientKey::V6(
                    [a, b, c, d]
                        .iter()
                        .fold(0, |all, it| all << 16 | u64::from(*it)),
                )
            }
        }
    }

    /// Returns the kind of key, for the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            ClientKey::V4(_) | ClientKey::V6(_) => "address",
            ClientKey::User(_) => "user",
        }
    }
}
