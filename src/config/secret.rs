//! Texts that must not reach a log, a terminal or an error message.

use std::fmt;

use serde::Deserialize;

/// What stands where a secret was.
pub(super) const MASK: &str = "***";

/// A secret; shown as `***` however it is formatted.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret itself, for the code that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// How a password is named among the options of a URL: by everybody, and by the Redis client.
const OPTIONS: [&str; 2] = ["password=", "pass="];

/// `text` with the passwords of a URL (`scheme://user:password@host?password=…`) hidden. Everything
/// up to the last `@` counts as credentials, and everything after `password=` as a password: one
/// with unescaped characters hides too much, never too little.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let options = OPTIONS
        .iter()
        .filter_map(|name| Some(rest.find(name)? + name.len()));
    let (shown, hidden) = rest.split_at(options.min().unwrap_or(rest.len()));
    if hidden.contains('@') {
        return format!("{scheme}://{MASK}");
    }
    let hidden = if hidden.is_empty() { "" } else { MASK };
    let login = shown
        .rsplit_once('@')
        .and_then(|(credentials, host)| Some((credentials.split_once(':')?.0, host)));
    match login {
        Some((user, host)) => format!("{scheme}://{user}:{MASK}@{host}{hidden}"),
        None => format!("{scheme}://{shown}{hidden}"),
    }
}

/// Returns the likeliest reason that a URL (`scheme://user:password@host/…`) cannot be read: a
/// character of its password that ends the host's part there. Names the character, and nothing of
/// the password.
pub(super) fn unencoded(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (authority, beyond) = rest.split_at(rest.find(['/', '?', '#'])?);
    if authority.contains('@') || !authority.contains(':') {
        return None;
    }
    // The host comes later than it seems: an `@` follows that is in no option's value.
    let before = &beyond[..beyond.find('@')?];
    let option = before.rfind(['?', '&']).map(|start| &before[start..]);
    if option.is_some_and(|option| option.contains('=')) {
        return None;
    }
    let special = beyond.chars().next()?;
    Some(format!(
        "the special characters of a password percent-encoded, `{special}` as `%{:02X}` (`#` is \
         `%23`, `/` is `%2F`, `?` is `%3F`, `@` is `%40`)",
        u32::from(special)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret("django-insecure".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "*** *** Some(***)"
        );
        assert_eq!(secret.expose(), "django-insecure");
    }

    #[test]
    fn the_password_of_a_url_is_masked_and_nothing_else() {
        assert_eq!(masked("mysql://u:p@h/db?ssl=1"), "mysql://u:***@h/db?ssl=1");
        assert_eq!(masked("redis://:p@h/0"), "redis://:***@h/0");
        assert_eq!(masked("mysql://u:p/a@b@h/db"), "mysql://u:***@h/db");
        assert_eq!(
            masked("unix:///run/r.sock?db=1&password=p&x=y"),
            "unix:///run/r.sock?db=1&password=***"
        );
        assert_eq!(masked("unix:///r?pass=p&password=p"), "unix:///r?pass=***");
        for unclear in ["redis://h:1/0?password=a@b", "redis://u:password=p@h"] {
            assert_eq!(masked(unclear), "redis://***");
        }
        let sentinels = "sentinel://:p@a,b/m/0?sentinel_password=p&x=y";
        assert_eq!(
            masked(sentinels),
            "sentinel://:***@a,b/m/0?sentinel_password=***"
        );
        for plain in [
            "sqlite://chat.sqlite3",
            "mysql://u@h/db",
            "mysql://h:3306/db",
            "plain",
        ] {
            assert_eq!(masked(plain), plain);
        }
    }
}
