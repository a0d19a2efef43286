//! The work of a proxy on headers: those about one connection are taken out, and who asked whom is
//! put in.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use hyper::{
    HeaderMap,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{
    config::{self, Config},
    net::{FORWARDED_FOR, FORWARDED_PROTO as PROTO, Peer},
};

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

/// Headers by which some servers take another path than that of the request line: no proxy needs to
/// send them to us, and one that is trusted may pass on a stranger's.
const OF_PATH: [&str; 10] = [
    "daphne-root-path",
    "path-info",
    "raw-uri",
    "request-uri",
    "root-path",
    "script-name",
    "x-original-url",
    "x-rewrite-url",
    "x-root-path",
    "x-script-name",
];

/// Headers by which proxies tell who asks, and how: beginnings of names.
const OF_CLIENT: [&str; 36] = [
    "cf-connecting-ip",
    "client-cert",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    "https",
    "remote-",
    "ssl-",
    "true-client-ip",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-arr-ssl",
    "x-auth-request-",
    "x-authenticated-",
    "x-azure-",
    "x-client-cert",
    "x-client-dn",
    "x-client-ip",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-goog-",
    "x-host",
    "x-ms-client-principal",
    "x-original-",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-",
    "x-remote-",
    "x-scheme",
    "x-ssl",
    "x-url-scheme",
    "x-webauth-",
];

/// Whose word about others is passed on.
#[derive(Debug)]
pub struct HeaderTrust {
    /// Everybody's: `gateway.trust_forwarded`.
    everybody: bool,
    server: config::Server,
    /// Set once the log has said that a peer on this machine is not believed.
    warned: AtomicBool,
}

impl HeaderTrust {
    pub fn of(config: &Config) -> Self {
        HeaderTrust {
            everybody: config.gateway.trust_forwarded,
            server: config.server.clone(),
            warned: AtomicBool::new(false),
        }
    }

    /// Returns whether a header of this name is passed on from this peer.
    pub fn passes(&self, name: &str, peer: Peer) -> bool {
        !is_refused(name, self.believes(peer))
    }

    fn believes(&self, peer: Peer) -> bool {
        self.everybody || self.server.trusts(peer.address)
    }

    /// Logs once that a proxy on this machine is not believed: earlier versions believed it.
    fn warn_of(&self, peer: Peer, headers: &HeaderMap) {
        let is_local = peer.address.is_some_and(|it| it.is_loopback());
        if is_local && headers.contains_key(PROTO) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a peer on this machine sent X-Forwarded-Proto, which is not passed on: if it is a \
                 proxy, name its address in server.trusted_proxies"
            );
        }
    }
}

/// Prepares the headers of a request for the upstream. `Expect` is between the client and us: who
/// takes the body says `100 Continue`. What the peer says of others stays if it is trusted.
pub fn prepare(headers: &mut HeaderMap, peer: Peer, trust: &HeaderTrust) {
    // A chunked body has no other length (RFC 9112, 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    let is_trusted = trust.believes(peer);
    if !is_trusted {
        trust.warn_of(peer, headers);
    }
    let refused: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_refused(name.as_str(), is_trusted))
        .cloned()
        .collect();
    for name in refused {
        headers.remove(name);
    }
    unite_hosts(headers);
    append_for(headers, peer.address);
    let proto = HeaderValue::from_static(if peer.secure { "https" } else { "http" });
    headers.entry(PROTO).or_insert(proto);
    if let Some(host) = headers.get(HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

/// Returns whether a header does not reach an application, from a peer who is trusted or not.
fn is_refused(name: &str, is_trusted: bool) -> bool {
    // Django's servers make one name of `X_Real_IP` and `X-Real-IP`.
    name.contains('_')
        || OF_PATH.contains(&name)
        || !is_trusted
            && OF_CLIENT
                .iter()
                .any(|beginning| name.starts_with(beginning))
}

/// Makes one `Host` of several, as Django does, which then refuses it.
fn unite_hosts(headers: &mut HeaderMap) {
    let hosts: Vec<&[u8]> = headers
        .get_all(HOST)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if hosts.len() > 1
        && let Ok(host) = HeaderValue::from_bytes(&hosts.join(&b","[..]))
    {
        headers.insert(HOST, host);
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
        trusted: &str,
    ) -> HeaderMap {
        let mut headers = map(lines);
        let peer = Peer {
            address: peer.map(|peer| peer.parse().unwrap()),
            secure: false,
        };
        prepare(&mut headers, peer, &trusting(trusted));
        headers
    }

    fn trusting(proxies: &str) -> HeaderTrust {
        HeaderTrust::of(&Config::of(&[("server.trusted_proxies", proxies)]))
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
            "",
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
        let headers = prepared(&sent, Some("127.0.0.1"), "127.0.0.1");
        assert_eq!(headers[FORWARDED_FOR], "9.9.9.9, 8.8.8.8, 127.0.0.1");
        assert_eq!(headers[PROTO], "https");
        assert_eq!(headers[FORWARDED_HOST], "a");
    }

    #[test]
    fn what_another_peer_says_of_others_is_taken_out() {
        let sent = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "wss")];
        let headers = prepared(&sent, Some("10.0.0.7"), "10.0.0.8");
        assert_eq!(headers[FORWARDED_FOR], "10.0.0.7");
        assert_eq!(headers[PROTO], "http");
        let mut headers = map(&sent);
        let peer = Peer {
            address: Some([10, 0, 0, 7].into()),
            secure: true,
        };
        prepare(&mut headers, peer, &trusting(""));
        assert_eq!(headers[PROTO], "https", "the connection is encrypted");
    }

    #[test]
    fn a_proxy_on_this_machine_is_believed_if_it_is_named() {
        let sent = [("x-forwarded-proto", "https"), ("x-real-ip", "9.9.9.9")];
        let headers = prepared(&sent, Some("127.0.0.1"), "");
        assert_eq!(headers[PROTO], "http");
        assert!(!headers.contains_key("x-real-ip"));
        let headers = prepared(&sent, Some("127.0.0.1"), "127.0.0.1,::1");
        assert_eq!(headers[PROTO], "https");
        assert_eq!(headers["x-real-ip"], "9.9.9.9");
    }

    #[test]
    fn what_moves_a_path_is_passed_on_for_nobody() {
        for name in OF_PATH
            .into_iter()
            .chain(["x_real_ip", "script_name", "_", "a_b"])
        {
            for proxies in ["", "127.0.0.1"] {
                let headers = prepared(&[(name, "/x")], Some("127.0.0.1"), proxies);
                assert!(!headers.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn two_hosts_become_one_that_django_refuses() {
        let headers = prepared(&[("host", "a"), ("host", "b")], None, "");
        assert_eq!(headers.get_all(HOST).iter().collect::<Vec<_>>(), ["a,b"]);
    }
}
