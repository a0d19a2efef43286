//! The route of a request, found as Starlette's router does.

use std::fmt::Write as _;

use super::{arguments::Inputs, bearer::BearerScheme, field::Kind};

/// A path with one method, in the order of declaration.
#[derive(Debug)]
pub struct Route<H: 'static> {
    pub method: &'static str,
    /// Names in braces are captured.
    pub path: &'static str,
    /// Name of the route in the metrics.
    pub label: &'static str,
    /// Name of the function, as the document of the application shows it.
    pub name: &'static str,
    pub tags: &'static [&'static str],
    /// Scheme by which callers are known; `None` if anybody may call.
    pub scheme: Option<BearerScheme>,
    pub inputs: Inputs,
    /// Status of an answer that is no refusal.
    pub status: u16,
    /// Type of that answer, for the document; `None` if it may be anything.
    pub answer: Option<Kind>,
    /// Whatever the dialect needs to answer it.
    pub handler: H,
}

/// Names and texts that a path captures.
pub type Captured = Vec<(&'static str, String)>;

/// Result of looking for a route.
#[derive(Debug)]
pub enum Found<'a, H: 'static> {
    Route(&'a Route<H>, Captured),
    /// The first route of the path; another method was asked for.
    OtherMethod(&'a Route<H>),
    /// The path exists with a slash at its end, or without.
    OtherSlash(String),
    Nothing,
}

/// Looks for the route of a percent-decoded path.
#[must_use]
pub fn find<'a, H>(routes: &'a [Route<H>], method: &str, path: &str) -> Found<'a, H> {
    let mut other = None;
    for route in routes {
        if let Some(captured) = capture(route.path, path) {
            if route.method == method {
                return Found::Route(route, captured);
            }
            other.get_or_insert(route);
        }
    }
    if let Some(route) = other {
        return Found::OtherMethod(route);
    }
    let slashed = match path.strip_suffix('/') {
        Some(shorter) => shorter.trim_end_matches('/').to_owned(),
        None => format!("{path}/"),
    };
    let mut paths = routes.iter().map(|route| route.path);
    if path != "/" && paths.any(|route| capture(route, &slashed).is_some()) {
        return Found::OtherSlash(slashed);
    }
    Found::Nothing
}

fn capture(route: &'static str, path: &str) -> Option<Captured> {
    let (mut names, mut given) = (route.split('/'), path.split('/'));
    let mut captured = Captured::new();
    loop {
        match (names.next(), given.next()) {
            (None, None) => return Some(captured),
            (Some(name), Some(part)) => match in_braces(name) {
                Some(name) if !part.is_empty() => captured.push((name, part.to_owned())),
                None if name == part => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

fn in_braces(name: &str) -> Option<&str> {
    name.strip_prefix('{')?.strip_suffix('}')
}

/// Returns the absolute URL of a path on the host that the client named, percent-encoded.
pub(super) fn absolute(host: Option<&str>, is_secure: bool, path: &str, query: &str) -> String {
    const SAFE: &[u8] = b"_.-~:/%#?=@[]!$&'()*+,;";
    let scheme = if is_secure { "https" } else { "http" };
    let origin = host.map(|host| format!("{scheme}://{host}"));
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    let url = format!("{}{path}{query}", origin.unwrap_or_default());
    let mut quoted = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_alphanumeric() || SAFE.contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            let _infallible = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}
