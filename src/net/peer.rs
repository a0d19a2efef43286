//! The peer of a connection, and the client that it speaks for.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, header::HeaderName};

use crate::config;

/// Proxies put the address they were asked from at the end of it.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies say here which scheme they were asked by.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its own address, or the one a trusted proxy gave in a PROXY header; `None` over a Unix
    /// socket.
    pub address: Option<IpAddr>,
    /// True if the connection is encrypted.
    pub secure: bool,
}

/// Both ends of a connection, as the system knows them; neither over a Unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    pub client: Option<SocketAddr>,
    pub server: Option<SocketAddr>,
}

impl Peer {
    /// Returns the address of the client that a request comes from: the last in `X-Forwarded-For`
    /// that is not a trusted proxy's own. `None` if it comes from a trusted proxy itself, or from
    /// somebody on a Unix socket that names no client.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, settings: &config::Server) -> Option<IpAddr> {
        let mut client = self.address;
        let lists = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut named = lists.flat_map(|list| list.to_str().unwrap_or("unknown").rsplit(','));
        while settings.trusts(client) {
            match named.next().map(address) {
                Some(Some(before)) => client = Some(before),
                // An entry that cannot be read was not written by a trusted proxy.
                Some(None) => return client,
                None => return None,
            }
        }
        client
    }
}

/// Returns an address as proxies write it, some of them with the port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let plain = bare.unwrap_or(text).parse().ok();
    let with_port = || text.parse().ok().map(|it: SocketAddr| it.ip());
    plain.or_else(with_port).map(|it: IpAddr| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::config::Config;

    /// Returns the client seen behind `peer`, where `10.0.0.0/8` and `fd00::/8` are trusted.
    fn client(peer: Option<&str>, lists: &[&'static str]) -> String {
        let trusted = ("server.trusted_proxies", "10.0.0.0/8,fd00::/8");
        let config = Config::of(&[trusted]);
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
        }
        let peer = Peer {
            address: peer.map(|it| it.parse().unwrap()),
            secure: false,
        };
        let found = peer.client(&headers, &config.server);
        found.map_or_else(|| "nobody".to_owned(), |it| it.to_string())
    }

    #[test]
    fn a_stranger_is_who_he_is_whatever_he_says() {
        assert_eq!(client(Some("192.0.2.1"), &[]), "192.0.2.1");
        assert_eq!(client(Some("192.0.2.1"), &["10.0.0.1"]), "192.0.2.1");
        assert_eq!(client(Some("127.0.0.1"), &["1.1.1.1"]), "127.0.0.1");
    }

    #[test]
    fn behind_trusted_proxies_it_is_whom_the_first_of_them_saw() {
        let proxy = Some("10.0.0.1");
        assert_eq!(client(proxy, &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            client(proxy, &["6.6.6.6, 192.0.2.1 ,10.0.0.2"]),
            "192.0.2.1"
        );
        assert_eq!(client(proxy, &["6.6.6.6", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(Some("fd00::1"), &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client(None, &["192.0.2.1"]), "192.0.2.1", "Unix socket");
        for with_port in [
            "192.0.2.1:4711",
            "::ffff:192.0.2.1",
            "[::ffff:192.0.2.1]:80",
        ] {
            assert_eq!(client(proxy, &[with_port]), "192.0.2.1");
        }
    }

    #[test]
    fn proxies_that_speak_for_nobody_are_no_client() {
        assert_eq!(client(Some("10.0.0.1"), &[]), "nobody");
        assert_eq!(client(Some("10.0.0.1"), &["10.0.0.9"]), "nobody");
        assert_eq!(client(None, &[]), "nobody");
    }

    #[test]
    fn what_is_no_address_names_nobody() {
        for list in ["unknown", "", "192.0.2.1, unix:", "192.0.2.1,"] {
            let list: &'static str = list;
            assert_eq!(client(Some("10.0.0.1"), &[list]), "10.0.0.1", "{list}");
        }
    }
}
