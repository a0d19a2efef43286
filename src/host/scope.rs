//! The scopes of a handshake and of a request: those that Daphne makes, key by key.

use hyper::{
    Request, Version,
    header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING},
};

use super::wire;
use crate::{
    config,
    gateway::HeaderTrust,
    layer::redis::codec::item::Item,
    net::{Ends, FORWARDED_PROTO, Peer},
    python::urls::decode_path,
    value::Value,
};

/// Returns the scope of a handshake in msgpack. `asgi` is added by the worker, as it is the same for
/// all.
#[must_use]
pub fn of<B>(request: &Request<B>, trust: &HeaderTrust, server: &config::Server) -> Vec<u8> {
    let headers = request.headers();
    let peer: Peer = request.extensions().get().copied().unwrap_or_default();
    let sent = united(headers, |name| trust.passes(name, peer));
    let offered = offered(headers).into_iter().map(text).collect();
    let mut scope = common("websocket", request, sent, server);
    scope.push(("subprotocols", Item::list(offered)));
    wire::map(scope)
}

/// Returns the scope of a request in msgpack, but for `asgi`.
#[must_use]
pub fn of_http<B>(request: &Request<B>, trust: &HeaderTrust, server: &config::Server) -> Vec<u8> {
    let headers = request.headers();
    let peer: Peer = request.extensions().get().copied().unwrap_or_default();
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    // A chunked body has no other length (RFC 9112, 6.3).
    let passes = |name: &str| trust.passes(name, peer) && !(is_chunked && name == "content-length");
    let sent = headers.keys().filter(|name| passes(name.as_str()));
    let sent = sent.flat_map(|name| {
        let values = headers.get_all(name).iter();
        values.map(|value| (name.as_str().to_owned(), value.as_bytes().to_vec()))
    });
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut scope = common("http", request, sent.collect(), server);
    scope.extend([
        ("http_version", text(version.to_owned())),
        ("method", text(request.method().to_string())),
        ("scheme", text(scheme(peer, headers, server).to_owned())),
    ]);
    wire::map(scope)
}

/// Returns the keys that both kinds have.
fn common<B>(
    kind: &str,
    request: &Request<B>,
    headers: Vec<(String, Vec<u8>)>,
    server: &config::Server,
) -> Vec<(&'static str, Item)> {
    let uri = request.uri();
    let peer: Peer = request.extensions().get().copied().unwrap_or_default();
    let ends: Ends = request.extensions().get().copied().unwrap_or_default();
    let client = client(peer, ends, request.headers(), server);
    let headers = headers
        .into_iter()
        .map(|(name, value)| Item::list(vec![bytes(&name), Item::Bytes(value)]));
    vec![
        ("type", text(kind.to_owned())),
        ("path", text(decode_path(uri.path()))),
        ("raw_path", bytes(uri.path())),
        ("root_path", text(String::new())),
        ("headers", Item::List(headers.collect())),
        ("query_string", bytes(uri.query().unwrap_or_default())),
        ("client", client),
        ("server", ends.server.map_or(NONE, address)),
    ]
}

fn bytes(text: &str) -> Item {
    Item::Bytes(text.as_bytes().to_vec())
}

fn text(text: String) -> Item {
    Item::Plain(text.into())
}

/// Returns the scheme that the client speaks: a trusted proxy's word, or that of the connection.
fn scheme(peer: Peer, headers: &HeaderMap, server: &config::Server) -> &'static str {
    let said = headers.get(FORWARDED_PROTO).map(HeaderValue::as_bytes);
    let said = said.filter(|_| server.trusts(peer.address));
    let is_secure = said.map_or(peer.secure, |said| said.eq_ignore_ascii_case(b"https"));
    if is_secure { "https" } else { "http" }
}

const NONE: Item = Item::Plain(Value::Null);

fn address(address: std::net::SocketAddr) -> Item {
    host_and_port(address.ip().to_canonical().to_string(), address.port())
}

fn host_and_port(host: String, port: u16) -> Item {
    Item::Plain(Value::List(vec![host.into(), Value::Int(port.into())]))
}

/// Returns the client's address. Of one that a proxy speaks for the port is not known: Daphne says
/// 0.
fn client(peer: Peer, ends: Ends, headers: &HeaderMap, server: &config::Server) -> Item {
    match (peer.client(headers, server), ends.client) {
        (Some(client), Some(end)) if end.ip().to_canonical() == client => address(end),
        (Some(client), _) => host_and_port(client.to_string(), 0),
        (None, Some(end)) => address(end),
        (None, None) => NONE,
    }
}

/// Headers in the order of their first appearance; the values of one that is repeated are joined.
fn united(headers: &HeaderMap, passes: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let names = headers.keys().filter(|name| passes(name.as_str()));
    let value = |name| {
        let values: Vec<&[u8]> = headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        values.join(&b","[..])
    };
    names
        .map(|name| (name.as_str().to_owned(), value(name)))
        .collect()
}

/// Returns the subprotocols that a client offers.
#[must_use]
pub fn offered(headers: &HeaderMap) -> Vec<String> {
    let values: Vec<&[u8]> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if values.is_empty() {
        return Vec::new();
    }
    let text = decode_path(&String::from_utf8_lossy(&values.join(&b","[..])));
    text.split(',').map(|it| it.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, layer::redis::codec::msgpack};

    type Make = fn(&Request<()>, &HeaderTrust, &config::Server) -> Vec<u8>;

    fn scope(lines: &[(&'static str, &'static str)], uri: &str) -> Vec<(String, Item)> {
        scope_by(of, lines, uri, "")
    }

    fn body_by(
        make: Make,
        lines: &[(&'static str, &'static str)],
        uri: &str,
        proxies: &str,
    ) -> Vec<u8> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for (name, value) in lines {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        request.extensions_mut().insert(Ends {
            client: Some("192.0.2.1:4711".parse().unwrap()),
            server: Some("127.0.0.1:8000".parse().unwrap()),
        });
        request.extensions_mut().insert(Peer {
            address: Some("192.0.2.1".parse().unwrap()),
            secure: false,
        });
        let config = Config::of(&[("server.trusted_proxies", proxies)]);
        make(&request, &HeaderTrust::of(&config), &config.server)
    }

    fn scope_by(
        make: Make,
        lines: &[(&'static str, &'static str)],
        uri: &str,
        proxies: &str,
    ) -> Vec<(String, Item)> {
        let body = body_by(make, lines, uri, proxies);
        let members = msgpack::read(&body).unwrap().into_members().unwrap();
        let key =
            |(key, item): (crate::value::Text, Item)| (key.as_str().unwrap().to_owned(), item);
        members.into_iter().map(key).collect()
    }

    fn bytes(text: &str) -> Item {
        Item::Bytes(text.as_bytes().to_vec())
    }

    fn get(scope: &[(String, Item)], key: &str) -> Item {
        scope
            .iter()
            .find(|(name, _)| name == key)
            .unwrap()
            .1
            .clone()
    }

    #[test]
    fn a_scope_has_the_keys_of_daphne_and_no_other() {
        let body = body_by(of, &[], "/ws/%ED%99%8D/?a=%20", "");
        assert_eq!(body, wire::tests::body("OPEN"));
    }

    #[test]
    fn repeated_headers_are_joined_and_those_of_strangers_about_others_are_left_out() {
        let lines = [
            ("x-b", "1"),
            ("x-a", "2"),
            ("x-b", "3"),
            ("x-forwarded-for", "10.0.0.1"),
            ("daphne-root-path", "/x"),
            ("x_b", "4"),
        ];
        let pair = |name, value| Item::List(vec![bytes(name), bytes(value)]);
        let want = Item::List(vec![pair("x-b", "1,3"), pair("x-a", "2")]);
        assert_eq!(get(&scope(&lines, "/ws/"), "headers"), want);
    }

    #[test]
    fn subprotocols_are_those_that_are_offered() {
        let lines = [("sec-websocket-protocol", "a, b%20c ,d")];
        let scope = scope(&lines, "/ws/");
        let want = Value::List(vec!["a".into(), "b c".into(), "d".into()]);
        assert_eq!(get(&scope, "subprotocols"), Item::Plain(want));
    }

    #[test]
    fn a_scope_of_http_has_the_keys_of_daphne_and_each_value_of_a_header() {
        let lines = [
            ("x-b", "1"),
            ("x-a", "2"),
            ("x-b", "3"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("x-forwarded-proto", "https"),
        ];
        let scope = scope_by(of_http, &lines, "/a%20b/?c=%20", "");
        let mut keys: Vec<&str> = scope.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "client",
                "headers",
                "http_version",
                "method",
                "path",
                "query_string",
                "raw_path",
                "root_path",
                "scheme",
                "server",
                "type"
            ]
        );
        let pair = |name, value| Item::List(vec![bytes(name), bytes(value)]);
        let want = Item::List(vec![
            pair("x-b", "1"),
            pair("x-b", "3"),
            pair("x-a", "2"),
            pair("transfer-encoding", "chunked"),
        ]);
        assert_eq!(get(&scope, "headers"), want);
        assert_eq!(get(&scope, "path"), Item::Plain("/a b/".into()));
        assert_eq!(get(&scope, "http_version"), Item::Plain("1.1".into()));
        assert_eq!(get(&scope, "scheme"), Item::Plain("http".into()));
    }

    #[test]
    fn only_a_trusted_proxy_says_which_scheme_a_client_speaks() {
        let lines = [("x-forwarded-proto", "https")];
        for (proxies, scheme) in [("", "http"), ("192.0.2.1", "https"), ("192.0.2.2", "http")] {
            let scope = scope_by(of_http, &lines, "/", proxies);
            assert_eq!(
                get(&scope, "scheme"),
                Item::Plain(scheme.into()),
                "{proxies}"
            );
        }
    }
}
