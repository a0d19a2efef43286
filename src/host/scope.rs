//! The scope of a handshake: the one that Daphne makes, key by key.

use hyper::{
    Request,
    header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL},
};

use super::wire;
use crate::{
    config,
    gateway::HeaderTrust,
    layer::redis::codec::item::Item,
    net::{Ends, Peer},
    python::urls::decode_path,
    value::Value,
};

/// Returns the scope in msgpack. `asgi` is added by the worker, as it is the same for all.
#[must_use]
pub fn of<B>(request: &Request<B>, trust: &HeaderTrust, server: &config::Server) -> Vec<u8> {
    let (uri, headers) = (request.uri(), request.headers());
    let peer: Peer = request.extensions().get().copied().unwrap_or_default();
    let ends: Ends = request.extensions().get().copied().unwrap_or_default();
    let bytes = |text: &str| Item::Bytes(text.as_bytes().to_vec());
    let text = |text: String| Item::Plain(text.into());
    let headers_sent = united(headers, |name| trust.passes(name, peer));
    let headers_sent = headers_sent
        .into_iter()
        .map(|(name, value)| Item::list(vec![bytes(&name), Item::Bytes(value)]));
    let offered = offered(headers).into_iter().map(text).collect();
    wire::map(vec![
        ("type", text("websocket".to_owned())),
        ("path", text(decode_path(uri.path()))),
        ("raw_path", bytes(uri.path())),
        ("root_path", text(String::new())),
        ("headers", Item::List(headers_sent.collect())),
        ("query_string", bytes(uri.query().unwrap_or_default())),
        ("client", client(peer, ends, headers, server)),
        ("server", ends.server.map_or(NONE, address)),
        ("subprotocols", Item::list(offered)),
    ])
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

    fn body(lines: &[(&'static str, &'static str)], uri: &str) -> Vec<u8> {
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
        let config = Config::of(&[]);
        of(&request, &HeaderTrust::of(&config), &config.server)
    }

    fn scope(lines: &[(&'static str, &'static str)], uri: &str) -> Vec<(String, Item)> {
        let members = msgpack::read(&body(lines, uri))
            .unwrap()
            .into_members()
            .unwrap();
        let key =
            |(key, item): (crate::value::Text, Item)| (key.as_str().unwrap().to_owned(), item);
        members.into_iter().map(key).collect()
    }

    fn get(scope: &[(String, Item)], key: &str) -> Item {
        scope
            .iter()
            .find(|(name, _)| name == key)
            .unwrap()
            .1
            .clone()
    }

    fn bytes(text: &str) -> Item {
        Item::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn a_scope_has_the_keys_of_daphne_and_no_other() {
        let body = body(&[], "/ws/%ED%99%8D/?a=%20");
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
}
