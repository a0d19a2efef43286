//! What a proxy does to headers: those about one connection are taken out, and who asked whom is
//! put in.

use std::net::IpAddr;

use hyper::{
    HeaderMap,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::server::{FORWARDED_FOR, Peer};

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers about one connection (RFC 9110, 7.6.1), whether `Connection` lists them or not.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes out what is about one connection, with everything that `Connection` lists.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // Without these it would be another request.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The headers of a request as the upstream gets them. `Expect` is between the client and us: who
/// takes the body says `100 Continue`. What the peer says of others stays if it is `trusted`.
pub fn prepare(headers: &mut HeaderMap, peer: Peer, trusted: bool) {
    // What is chunked has no other length (RFC 9112, 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    if !trusted {
        for name in [FORWARDED_FOR, PROTO, FORWARDED_HOST] {
            headers.remove(name);
        }
    }
    append_for(headers, peer.address);
    let proto = HeaderValue::from_static(if peer.secure { "https" } else { "http" });
    headers.entry(PROTO).or_insert(proto);
    if let Some(host) = headers.get(HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

/// One list, the client first and the nearest peer last.
fn append_for(headers: &mut HeaderMap, peer: Option<IpAddr>) {
    let Some(peer) = peer else { return };
    let sent = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes);
    let mut list = sent.collect::<Vec<_>>().join(&b", "[..]);
    if !list.is_empty() {
        list.extend(b", ");
    }
    list.extend(peer.to_string().bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(FORWARDED_FOR, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn prepared(
        lines: &[(&'static str, &'static str)],
        peer: Option<&str>,
        trusted: bool,
    ) -> HeaderMap {
        let mut headers = map(lines);
        let peer = Peer {
            address: peer.map(|peer| peer.parse().unwrap()),
            secure: false,
        };
        prepare(&mut headers, peer, trusted);
        headers
    }

    #[test]
    fn what_is_about_one_connection_stays_on_it() {
        let headers = prepared(
            &[
                ("host", "chat.example"),
                ("connection", "close, X-Mine"),
                ("connection", "host"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("content-length", "5"),
                ("expect", "100-continue"),
                ("upgrade", "h2c"),
                ("accept", "*/*"),
            ],
            None,
            true,
        );
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "host", "x-forwarded-host", "x-forwarded-proto"]
        );
    }

    #[test]
    fn the_client_is_named_and_the_chain_of_a_trusted_peer_kept() {
        let sent = [
            ("host", "a"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-for", "8.8.8.8"),
            ("x-forwarded-proto", "https"),
        ];
        let headers = prepared(&sent, Some("127.0.0.1"), true);
        assert_eq!(headers[FORWARDED_FOR], "9.9.9.9, 8.8.8.8, 127.0.0.1");
        assert_eq!(headers[PROTO], "https");
        assert_eq!(headers[FORWARDED_HOST], "a");
    }

    #[test]
    fn what_another_peer_says_of_others_is_taken_out() {
        let sent = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "wss")];
        let headers = prepared(&sent, Some("10.0.0.7"), false);
        assert_eq!(headers[FORWARDED_FOR], "10.0.0.7");
        assert_eq!(headers[PROTO], "http");
        let mut headers = map(&sent);
        let peer = Peer {
            address: None,
            secure: true,
        };
        prepare(&mut headers, peer, false);
        assert_eq!(headers[PROTO], "https", "the connection is encrypted");
    }
}
