//! The opening handshake as Autobahn (Daphne's WebSocket engine) checks it: in this order, with
//! these reasons in the status line. Stands in for `processHandshake` of its
//! `WebSocketServerProtocol`; the facts are from transcripts of a live Daphne.

use std::fmt;

use hyper::{
    HeaderMap, Method,
    header::{
        CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};

/// A handshake that is refused before anybody asks where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHandshake {
    /// 400, or 405 for another method than GET.
    pub status: u16,
    /// The reason phrase of the status line.
    pub reason: String,
    /// True if the answer lists the versions that would do.
    pub lists_versions: bool,
}

/// The value of the `Sec-WebSocket-Version` header in a refusal.
pub const VERSIONS: &str = "13,8";

fn bad(reason: impl fmt::Display) -> BadHandshake {
    BadHandshake {
        status: 400,
        reason: reason.to_string(),
        lists_versions: false,
    }
}

/// Returns whether Daphne hands the request to its WebSocket engine: the first `Upgrade` header is
/// `websocket` and nothing else.
#[must_use]
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks a request that wants to be upgraded.
///
/// # Errors
/// [`BadHandshake`] with the words of Autobahn.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<(), BadHandshake> {
    if method != Method::GET {
        let reason = format!("HTTP method \"{method}\" not allowed");
        return Err(BadHandshake {
            status: 405,
            ..bad(reason)
        });
    }
    check_host(headers)?;
    check_connection(headers)?;
    check_version(headers)?;
    check_protocols(headers)?;
    check_origin(headers)?;
    check_key(headers)?;
    check_extensions(headers)
}

/// Returns all values of a header in one text, as Twisted joins them; bytes that are not ASCII as
/// Latin-1.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let latin1 = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|&byte| char::from(byte))
            .collect::<String>()
    };
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| latin1(value.as_bytes()))
        .collect();
    if values.is_empty() {
        None
    } else {
        Some(values.join(","))
    }
}

fn check_host(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(host) = joined(headers, &HOST) else {
        return Err(bad("HTTP Host header missing in opening handshake request"));
    };
    let host = host.trim();
    // The part after the last colon is a port, unless it belongs to an IPv6 address.
    if let Some((_, port)) = host.rsplit_once(':')
        && !host.ends_with(']')
        && port.trim().parse::<i64>().is_err()
    {
        return Err(bad(format!(
            "invalid port \"{}\" in HTTP Host header \"{host}\"",
            port.trim()
        )));
    }
    Ok(())
}

fn check_connection(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(connection) = joined(headers, &CONNECTION) else {
        return Err(bad("HTTP Connection header missing"));
    };
    if connection
        .split(',')
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    {
        return Ok(());
    }
    Err(bad(format!(
        "HTTP Connection headers do not include \"upgrade\" value (case-insensitive): \"{connection}\""
    )))
}

fn check_version(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(version) = joined(headers, &SEC_WEBSOCKET_VERSION) else {
        return Err(bad(
            "WebSocket connection denied - Hixie76 protocol not supported.",
        ));
    };
    match version.trim().parse::<i64>() {
        Ok(8 | 13) => Ok(()),
        Ok(version) => Err(BadHandshake {
            lists_versions: true,
            ..bad(format!(
                "WebSocket version {version} not supported (supported versions: {VERSIONS})"
            ))
        }),
        Err(_) => Err(bad(format!(
            "could not parse HTTP Sec-WebSocket-Version header \"{version}\" in opening handshake \
             request"
        ))),
    }
}

fn check_protocols(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(protocols) = joined(headers, &SEC_WEBSOCKET_PROTOCOL) else {
        return Ok(());
    };
    let mut seen = std::collections::HashSet::new();
    match protocols
        .split(',')
        .map(str::trim)
        .find(|protocol| !seen.insert(*protocol))
    {
        None => Ok(()),
        Some(twice) => Err(bad(format!(
            "duplicate protocol \"{twice}\" specified in HTTP Sec-WebSocket-Protocol header"
        ))),
    }
}

fn check_origin(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(origin) = joined(headers, &ORIGIN) else {
        return Ok(());
    };
    let origin = origin.trim();
    let is_host = origin.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let name = host.rsplit_once('@').map_or(host, |(_, name)| name);
        scheme.eq_ignore_ascii_case("file")
            || !name.split(':').next().unwrap_or_default().is_empty()
    });
    if is_host || origin.eq_ignore_ascii_case("null") {
        return Ok(());
    }
    Err(bad(format!(
        "HTTP Origin header invalid: No host part in Origin '{origin}'"
    )))
}

fn check_key(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(key) = joined(headers, &SEC_WEBSOCKET_KEY) else {
        return Err(bad("HTTP Sec-WebSocket-Key header missing"));
    };
    let key = key.trim();
    if key.chars().count() != 24 {
        return Err(bad(format!(
            "bad Sec-WebSocket-Key (length must be 24 ASCII chars) \"{key}\""
        )));
    }
    let Some(digits) = key.strip_suffix("==") else {
        return Err(bad(format!(
            "bad Sec-WebSocket-Key (invalid base64 encoding) \"{key}\""
        )));
    };
    let is_base64 = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    match digits.chars().find(|c| !is_base64(c)) {
        None => Ok(()),
        Some(c) => Err(bad(format!(
            "bad character \"{c}\" in Sec-WebSocket-Key (invalid base64 encoding) \"{key}\""
        ))),
    }
}

/// No extension is ever agreed on, but an offer of `permessage-deflate` that makes no sense is
/// refused.
fn check_extensions(headers: &HeaderMap) -> Result<(), BadHandshake> {
    let Some(extensions) = joined(headers, &SEC_WEBSOCKET_EXTENSIONS) else {
        return Ok(());
    };
    for extension in extensions.split(',') {
        let mut parts = extension.split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate"))
        {
            continue;
        }
        let mut seen = std::collections::HashSet::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (part, None),
            };
            let name = name.to_ascii_lowercase();
            let window = value.and_then(|value| value.parse::<u8>().ok());
            let is_window = window.is_some_and(|bits| (8..=15).contains(&bits));
            let makes_sense = match name.as_str() {
                "client_max_window_bits" => value.is_none() || is_window,
                "server_max_window_bits" => is_window,
                "client_no_context_takeover" | "server_no_context_takeover" => value.is_none(),
                _ => false,
            };
            if !makes_sense || !seen.insert(name.clone()) {
                return Err(bad(format!(
                    "illegal extension parameter '{name}' for extension 'permessage-deflate'"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a:80"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        for (name, value) in changes {
            match value {
                Some(value) => headers.insert(*name, value.parse().unwrap()),
                None => headers.remove(*name),
            };
        }
        headers
    }

    fn refusal(name: &'static str, value: Option<&'static str>) -> Option<String> {
        check(&Method::GET, &headers(&[(name, value)]))
            .err()
            .map(|refused| refused.reason)
    }

    #[test]
    fn a_handshake_of_any_origin_and_any_subprotocols_is_taken() {
        assert_eq!(check(&Method::GET, &headers(&[])), Ok(()));
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "file://"),
            ("host", "bad host!"),
            ("host", "[::1]:80"),
            ("host", "[::1]"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-version", "013"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-protocol", ""),
            (
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits",
            ),
            ("sec-websocket-extensions", "nonsense; x=y"),
        ] {
            assert_eq!(refusal(name, Some(value)), None, "{name}: {value}");
        }
    }

    #[test]
    fn what_autobahn_refuses_is_refused_in_its_words() {
        for (name, value, reason) in [
            (
                "host",
                None,
                "HTTP Host header missing in opening handshake request",
            ),
            (
                "host",
                Some("a:b"),
                "invalid port \"b\" in HTTP Host header \"a:b\"",
            ),
            ("connection", None, "HTTP Connection header missing"),
            (
                "connection",
                Some("close"),
                "HTTP Connection headers do not include \"upgrade\" value (case-insensitive): \
                 \"close\"",
            ),
            (
                "sec-websocket-version",
                None,
                "WebSocket connection denied - Hixie76 protocol not supported.",
            ),
            (
                "sec-websocket-version",
                Some("12"),
                "WebSocket version 12 not supported (supported versions: 13,8)",
            ),
            (
                "sec-websocket-version",
                Some("x"),
                "could not parse HTTP Sec-WebSocket-Version header \"x\" in opening handshake \
                 request",
            ),
            (
                "sec-websocket-protocol",
                Some("chat, chat"),
                "duplicate protocol \"chat\" specified in HTTP Sec-WebSocket-Protocol header",
            ),
            (
                "origin",
                Some("evil.example"),
                "HTTP Origin header invalid: No host part in Origin 'evil.example'",
            ),
            (
                "sec-websocket-key",
                Some("abc"),
                "bad Sec-WebSocket-Key (length must be 24 ASCII chars) \"abc\"",
            ),
            (
                "sec-websocket-key",
                Some("!!!!!!!!!!!!!!!!!!!!!!=="),
                "bad character \"!\" in Sec-WebSocket-Key (invalid base64 encoding) \
                 \"!!!!!!!!!!!!!!!!!!!!!!==\"",
            ),
        ] {
            assert_eq!(refusal(name, value).as_deref(), Some(reason));
        }
        let offer = Some("permessage-deflate; client_max_window_bits=99");
        assert!(refusal("sec-websocket-extensions", offer).is_some());
    }

    #[test]
    fn only_get_can_be_upgraded() {
        assert_eq!(check(&Method::POST, &headers(&[])).unwrap_err().status, 405);
    }

    #[test]
    fn only_a_first_upgrade_header_of_websocket_alone_wants_an_upgrade() {
        assert!(wants_upgrade(&headers(&[("upgrade", Some("WebSocket"))])));
        assert!(!wants_upgrade(&headers(&[(
            "upgrade",
            Some("h2c, websocket")
        )])));
        assert!(!wants_upgrade(&headers(&[("upgrade", None)])));
    }
}
