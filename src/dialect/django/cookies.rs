//! Cookies that Django's middleware reacts to, without any login.
//!
//! Stands in for what `SessionMiddleware` and `CsrfViewMiddleware` do to anonymous requests: dead
//! sessions are deleted, malformed CSRF tokens are replaced. Whether a session exists is for the
//! caller to find out.

use std::fmt::Write as _;

use crate::python::cookies::value_of;

/// Shorter keys were never made by Django: it forgets them at once. Test:
/// `a_short_or_empty_session_key_is_deleted_everywhere`.
const MIN_SESSION_KEY: usize = 8;
const CSRF_TOKEN_LEN: usize = 32;
/// A year less a day, in seconds.
const CSRF_MAX_AGE_S: u64 = 31_449_600;
/// Rest of the `Set-Cookie` that deletes a session's cookie, after its name.
const DELETED: &str =
    "=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax";

/// The cookies of a request that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookies<'a> {
    /// The name of the session's cookie, by default `sessionid`.
    pub session_name: &'a str,
    /// Its value.
    pub session: Option<String>,
    /// `csrftoken`.
    pub csrf: Option<String>,
}

impl<'a> Cookies<'a> {
    /// Reads the `Cookie` headers.
    #[must_use]
    pub fn parse(headers: &[&[u8]], session_name: &'a str) -> Self {
        Cookies {
            session_name,
            session: value_of(headers, session_name),
            csrf: value_of(headers, "csrftoken"),
        }
    }

    /// Returns the session key to look up in the database, if there is a plausible one.
    #[must_use]
    pub fn session_key(&self) -> Option<&str> {
        let key = self.session.as_deref()?;
        (key.chars().count() >= MIN_SESSION_KEY).then_some(key)
    }
}

/// Layer that made the answer; it decides which middleware saw the request and opened the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// `CommonMiddleware`: the redirect to a slash. The CSRF middleware was not reached.
    Middleware,
    /// Everything else before authentication: unknown paths, 406, an unknown `?format=`, and the
    /// 400 page for a bad `Host` (the error pages run the CSRF middleware themselves) or for too
    /// many query parameters.
    Outside,
    /// From authentication on: every other answer of the API, crashes included. The session was
    /// opened.
    View,
}

/// Headers that an answer has to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieEffect {
    /// Values of `Set-Cookie` headers, in order.
    pub set_cookie: Vec<String>,
    /// True if `Vary` has to name `Cookie`.
    pub vary: bool,
}

/// Returns the effect of the middleware on an answer.
///
/// `session_known` says whether [`Cookies::session_key`] is in the database, `now` is in seconds
/// since 1970, and `random` is asked for bytes only if a token has to be made. Without randomness
/// there is none.
pub fn effect(
    cookies: &Cookies<'_>,
    answered_by: AnsweredBy,
    session_known: bool,
    now: u64,
    random: &mut dyn FnMut() -> Option<[u8; 32]>,
) -> CookieEffect {
    let in_view = answered_by == AnsweredBy::View;
    let mut set_cookie = Vec::new();
    let malformed = cookies
        .csrf
        .as_deref()
        .is_some_and(|token| !is_csrf_token(token));
    if malformed
        && answered_by != AnsweredBy::Middleware
        && let Some(token) = new_token(random)
    {
        set_cookie.push(csrf_cookie(&token, now));
    }
    let dead_session = match cookies.session_key() {
        Some(_) => in_view && !session_known,
        None => cookies.session.is_some(),
    };
    if dead_session {
        set_cookie.push(format!("{}{DELETED}", cookies.session_name));
    }
    let vary = in_view || !set_cookie.is_empty();
    CookieEffect { set_cookie, vary }
}

fn is_csrf_token(token: &str) -> bool {
    matches!(token.len(), 32 | 64) && token.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// 32 letters and digits, each as likely as any other.
fn new_token(random: &mut dyn FnMut() -> Option<[u8; 32]>) -> Option<String> {
    const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut token = String::with_capacity(CSRF_TOKEN_LEN);
    while token.len() < CSRF_TOKEN_LEN {
        let picked = random()?.map(|byte| ALPHABET.get(usize::from(byte & 63)).copied());
        let missing = CSRF_TOKEN_LEN - token.len();
        token.extend(picked.into_iter().flatten().take(missing).map(char::from));
    }
    Some(token)
}

fn csrf_cookie(token: &str, now: u64) -> String {
    let expires = http_date(now.saturating_add(CSRF_MAX_AGE_S));
    format!("csrftoken={token}; expires={expires}; Max-Age={CSRF_MAX_AGE_S}; Path=/; SameSite=Lax")
}

/// `Fri, 19 Nov 2027 09:50:15 GMT`.
fn http_date(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let mut out = String::new();
    let _infallible = write!(out, "{}", time.strftime("%a, %d %b %Y %H:%M:%S GMT"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_168_215; // 2026-11-20 09:50:15 UTC

    fn effect_of(header: &str, answered_by: AnsweredBy, known: bool) -> CookieEffect {
        let cookies = Cookies::parse(&[header.as_bytes()], "sessionid");
        effect(&cookies, answered_by, known, NOW, &mut || Some([0; 32]))
    }

    fn deleted() -> CookieEffect {
        CookieEffect {
            set_cookie: vec![format!("sessionid{DELETED}")],
            vary: true,
        }
    }

    fn nothing(vary: bool) -> CookieEffect {
        CookieEffect {
            set_cookie: Vec::new(),
            vary,
        }
    }

    #[test]
    fn an_unknown_session_is_deleted_once_a_view_has_looked_for_it() {
        let header = "sessionid=doesnotexist0000000000000000000";
        assert_eq!(effect_of(header, AnsweredBy::View, false), deleted());
        assert_eq!(
            effect_of(header, AnsweredBy::Outside, false),
            nothing(false)
        );
        assert_eq!(
            effect_of(header, AnsweredBy::Middleware, false),
            nothing(false)
        );
    }

    #[test]
    fn without_randomness_no_token_is_made_and_the_rest_is_done() {
        let header = "csrftoken=malformed; sessionid=x";
        let made = effect_of(header, AnsweredBy::View, false);
        assert_eq!(made.set_cookie.len(), 2);
        let cookies = Cookies::parse(&[header.as_bytes()], "sessionid");
        let left = effect(&cookies, AnsweredBy::View, false, NOW, &mut || None);
        assert_eq!(left, deleted());
    }

    #[test]
    fn a_known_session_stays() {
        assert_eq!(
            effect_of("sessionid=12345678", AnsweredBy::View, true),
            nothing(true)
        );
    }

    #[test]
    fn a_short_or_empty_session_key_is_deleted_everywhere() {
        for header in ["sessionid=x", "sessionid=", "sessionid=1234567"] {
            for by in [
                AnsweredBy::Middleware,
                AnsweredBy::Outside,
                AnsweredBy::View,
            ] {
                assert_eq!(effect_of(header, by, false), deleted(), "{header} {by:?}");
            }
        }
    }

    #[test]
    fn a_malformed_csrf_token_is_replaced_except_by_a_redirect() {
        let expected = format!(
            "csrftoken={}; expires=Fri, 19 Nov 2027 09:50:15 GMT; Max-Age=31449600; Path=/; SameSite=Lax",
            "a".repeat(32)
        );
        for header in [
            "csrftoken=abc",
            "csrftoken=",
            "csrftoken=abcdefghijklmnopqrstuvwxyzABCDE-",
        ] {
            assert_eq!(
                effect_of(header, AnsweredBy::Outside, false).set_cookie,
                std::slice::from_ref(&expected)
            );
            assert_eq!(
                effect_of(header, AnsweredBy::Middleware, false),
                nothing(false)
            );
        }
    }

    #[test]
    fn a_well_formed_csrf_token_stays() {
        let token = format!("csrftoken={}", "aZ9b".repeat(8));
        assert_eq!(
            effect_of(&token, AnsweredBy::Outside, false),
            nothing(false)
        );
        assert_eq!(
            effect_of(&(token + &"0".repeat(32)), AnsweredBy::View, false),
            nothing(true)
        );
    }

    #[test]
    fn the_csrf_token_comes_before_the_dead_session() {
        let both = effect_of("sessionid=x; csrftoken=abc", AnsweredBy::View, false).set_cookie;
        assert!(
            both.len() == 2
                && both[0].starts_with("csrftoken=")
                && both[1] == format!("sessionid{DELETED}")
        );
    }

    #[test]
    fn a_token_skips_the_bytes_that_would_favour_some_letters() {
        let mut first = true;
        let token = new_token(&mut || {
            let bytes = if first { [62; 32] } else { [61; 32] };
            first = false;
            Some(bytes)
        });
        assert_eq!(token, Some("9".repeat(32)));
    }
}
