//! A range of addresses, as `10.0.0.0/8` or `::1`.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

/// Every address that begins with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    /// How many bits count: 32 or 128 are a single address.
    bits: u8,
}

impl Network {
    /// Returns whether the address is one of them. An IPv4 address within IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs) = (number(self.address), number(address.to_canonical()));
        let shift = width(self.address) - self.bits;
        ours.0 == theirs.0 && agree_above(ours.1, theirs.1, shift)
    }
}

/// Returns whether nothing but the lowest `shift` bits is different.
fn agree_above(one: u128, other: u128, shift: u8) -> bool {
    (one ^ other).checked_shr(shift.into()).unwrap_or_default() == 0
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u32::from(address).into()),
        IpAddr::V6(address) => (false, address.into()),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "addresses or networks as `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let bits = match bits {
            None => width(address),
            Some(bits) => bits.parse().map_err(|_| EXPECTED)?,
        };
        let bits_of_host = width(address).checked_sub(bits).ok_or(EXPECTED)?;
        // `10.1.2.3/8` is a slip of somebody who meant another network.
        let host = number(address).1 & !(u128::MAX.checked_shl(bits_of_host.into()).unwrap_or(0));
        if host != 0 || address.to_canonical() != address {
            return Err(EXPECTED);
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, &'static str> {
        Network::try_from(text.to_owned())
    }

    fn contains(range: &str, address: &str) -> bool {
        network(range).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.168.1.4/30", "192.168.1.7", "192.168.1.8"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::/0", "fe80::1", "1.2.3.4"),
        ] {
            assert!(contains(range, inside), "{inside} in {range}");
            assert!(!contains(range, outside), "{outside} in {range}");
        }
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!contains("::/0", "::ffff:10.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.1.2.3/8",
            "10.0.0",
            "a/8",
            "::ffff:1.2.3.4",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
