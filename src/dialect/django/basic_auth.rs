//! HTTP Basic authentication, which can only fail here.
//!
//! Stands in for `BasicAuthentication` in `rest_framework/authentication.py` on a server without
//! users: a request without credentials of this kind is anonymous, and no credentials are right.
//! Test: `well_formed_credentials_are_wrong_whoever_sends_them`.

use super::drf::Detail;
use crate::python::base64;

/// Why a request with this `Authorization` header (repeated ones joined by `,`) is refused, or
/// `None` if the header has nothing to do with Basic.
#[must_use]
pub fn refuse(authorization: Option<&str>) -> Option<Detail> {
    let latin1: Vec<u8> = authorization?
        .chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect();
    let mut words = latin1
        .split(|&byte| byte == 0x0b || byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    if !words.next()?.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    Some(match (words.next(), words.next()) {
        (None, _) => Detail::BasicNoCredentials,
        (Some(_), Some(_)) => Detail::BasicSpaces,
        (Some(credentials), None) => refuse_credentials(credentials),
    })
}

fn refuse_credentials(credentials: &[u8]) -> Detail {
    match base64::decode(credentials) {
        Ok(user_and_password) if user_and_password.contains(&b':') => Detail::InvalidPassword,
        _ => Detail::BasicNotBase64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_schemes_and_no_header_are_anonymous() {
        assert_eq!(refuse(None), None);
        assert_eq!(refuse(Some("")), None);
        assert_eq!(refuse(Some("Bearer abc")), None);
        assert_eq!(refuse(Some("Basically x")), None);
    }

    #[test]
    fn well_formed_credentials_are_wrong_whoever_sends_them() {
        for header in [
            "Basic Y2FwdXNlcjpub3Bl",
            "basic Y2FwdXNlcjpub3Bl",
            "BASIC\t Og==",
        ] {
            assert_eq!(
                refuse(Some(header)),
                Some(Detail::InvalidPassword),
                "{header}"
            );
        }
    }

    #[test]
    fn malformed_credentials_are_told_apart() {
        assert_eq!(refuse(Some("Basic")), Some(Detail::BasicNoCredentials));
        assert_eq!(refuse(Some("Basic a b")), Some(Detail::BasicSpaces));
        assert_eq!(refuse(Some("Basic !!!")), Some(Detail::BasicNotBase64));
        assert_eq!(
            refuse(Some("Basic bm9jb2xvbg==")),
            Some(Detail::BasicNotBase64)
        );
    }
}
