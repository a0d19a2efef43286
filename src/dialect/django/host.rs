//! The `Host` headers that get the page "Bad Request (400)".
//!
//! Stands in for `HttpRequest.get_host` in `django/http/request.py` with `ALLOWED_HOSTS = ["*"]`:
//! every well-formed name is good. Which names are ours is not asked.

use crate::python::wsgi::meta_value;

/// Returns whether Django would go on with these `Host` headers. None at all is good (Django then
/// takes the address of its own socket); two become one with a comma, which is bad. Tests:
/// `no_host_at_all_is_good`, `two_hosts_are_bad`.
#[must_use]
pub fn is_valid(host_headers: &[&[u8]]) -> bool {
    meta_value(host_headers).is_none_or(|host| is_host_and_port(&host.to_ascii_lowercase()))
}

/// `^([a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::([0-9]+))?$`, and more than one dot.
fn is_host_and_port(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let split = rest.split_once(']');
        return split.is_some_and(|(address, port)| is_ipv6(address) && is_port(port));
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    is_name(name) && is_port(port)
}

/// Neither empty nor a lone dot: Django cuts one dot off the end and wants something left. Test:
/// `a_malformed_host_is_bad`.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    !matches!(name, "" | ".") && name.bytes().all(allowed)
}

fn is_ipv6(address: &str) -> bool {
    let is_hex = |b: u8| matches!(b, b'a'..=b'f' | b'0'..=b'9');
    address.split_once(':').is_some_and(|(head, tail)| {
        head.bytes().all(is_hex)
            && !tail.is_empty()
            && tail.bytes().all(|b| is_hex(b) || b == b'.' || b == b':')
    })
}

/// Empty, or a colon and digits; no upper bound.
fn is_port(port: &str) -> bool {
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_name_or_address_is_good() {
        for host in [
            "localhost",
            "EXAMPLE.com:8000",
            "127.0.0.1:18000",
            "[::1]:8000",
            "[fe80::1.2]",
            "a..b",
            ".x",
            "-",
            "x:99999",
            "..",
            "a.",
        ] {
            assert!(is_valid(&[host.as_bytes()]), "{host}");
        }
    }

    #[test]
    fn a_malformed_host_is_bad() {
        for host in [
            "",
            "bad host!",
            "a_b",
            "x:",
            "*",
            "x,y",
            "x:y",
            ".",
            ".:80",
            "[::1",
            "[1]",
            "[:]",
            "[::1]x",
            "a\u{e9}",
            "x:1\n",
            "x:1:2",
        ] {
            assert!(!is_valid(&[host.as_bytes()]), "{host}");
        }
    }

    #[test]
    fn no_host_at_all_is_good() {
        assert!(is_valid(&[]));
    }

    #[test]
    fn two_hosts_are_bad() {
        assert!(!is_valid(&[b"a", b"b"]));
    }
}
