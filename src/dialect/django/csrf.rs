//! Django's protection of those who are logged in against the pages of others: stands in for
//! `CsrfViewMiddleware.process_view` as REST framework's `SessionAuthentication` calls it.
//!
//! What changes something must come from a page of the host itself or of a trusted origin, and
//! bring the token of the `csrftoken` cookie along. The `Referer`, which Django looks at over
//! HTTPS where there is no `Origin`, is not asked for. Which origins are trusted is for the caller.

const TOKEN_CHARS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SECRET_LEN: usize = 32;
const TOKEN_LEN: usize = 64;

/// Origin that a request claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginProof<'a> {
    /// The `Origin` header, if that origin is not trusted.
    pub foreign_origin: Option<&'a str>,
    /// The `csrftoken` cookie.
    pub cookie: Option<&'a str>,
    /// `csrfmiddlewaretoken` of a posted form.
    pub form: Option<&'a str>,
    /// The `X-CSRFToken` header.
    pub header: Option<&'a str>,
}

/// Returns whether a method changes nothing, and so needs no proof.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Checks a request that would change something.
///
/// # Errors
/// Django's reason.
pub fn check(proof: OriginProof<'_>) -> Result<(), String> {
    if let Some(origin) = proof.foreign_origin {
        return Err(format!(
            "Origin checking failed - {origin} does not match any trusted origins."
        ));
    }
    let Some(cookie) = proof.cookie else {
        return Err("CSRF cookie not set.".into());
    };
    let secret = secret_of(cookie).map_err(|why| format!("CSRF cookie {why}."))?;
    let (token, source) = match (proof.form.filter(|token| !token.is_empty()), proof.header) {
        (Some(token), _) => (token, "POST"),
        (None, Some(token)) => (token, "the 'X-Csrftoken' HTTP header"),
        (None, None) => return Err("CSRF token missing.".into()),
    };
    let told = |why| format!("CSRF token from {source} {why}.");
    let sent = secret_of(token).map_err(told)?;
    // The same time whatever is compared.
    let difference = sent
        .iter()
        .zip(&secret)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    if difference == 0 {
        Ok(())
    } else {
        Err(told("incorrect"))
    }
}

/// Returns the secret in a cookie or a token: itself, or masked by a pad that stands before it.
fn secret_of(token: &str) -> Result<[u8; SECRET_LEN], &'static str> {
    if !matches!(token.chars().count(), SECRET_LEN | TOKEN_LEN) {
        return Err("has incorrect length");
    }
    let places = token
        .bytes()
        .map(|byte| TOKEN_CHARS.iter().position(|&known| known == byte));
    let places: Vec<usize> = places
        .collect::<Option<_>>()
        .ok_or("has invalid characters")?;
    let mut secret = [0; SECRET_LEN];
    let masked = places.len() == TOKEN_LEN;
    for (at, byte) in secret.iter_mut().enumerate() {
        let place = if masked {
            (places[at + SECRET_LEN] + TOKEN_CHARS.len() - places[at]) % TOKEN_CHARS.len()
        } else {
            places[at]
        };
        *byte = TOKEN_CHARS[place];
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "aZ9baZ9baZ9baZ9baZ9baZ9baZ9baZ9b";
    /// The same, as Django masked it.
    const MASKED: &str = "aYrvgVcZLkpQIpdNJcj5Lnse31nAFxZ6aNqwgKb0L9oRIecOJ1i6Lcrf3QmBFmY7";

    fn good() -> OriginProof<'static> {
        OriginProof {
            cookie: Some(SECRET),
            header: Some(MASKED),
            ..OriginProof::default()
        }
    }

    fn reason(proof: OriginProof<'_>) -> String {
        check(proof).err().unwrap_or_default()
    }

    #[test]
    fn the_token_of_the_cookie_is_good_masked_or_not_in_header_or_form() {
        for (cookie, token) in [(SECRET, MASKED), (MASKED, SECRET), (SECRET, SECRET)] {
            let cookie = Some(cookie);
            let header = OriginProof {
                cookie,
                header: Some(token),
                ..good()
            };
            let form = OriginProof {
                cookie,
                form: Some(token),
                header: None,
                ..good()
            };
            assert_eq!(
                (reason(header), reason(form)),
                (String::new(), String::new())
            );
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_as_django_tells_it() {
        let other = "b".repeat(32);
        let odd = "-".repeat(32);
        for (proof, text) in [
            (
                OriginProof {
                    cookie: None,
                    ..good()
                },
                "CSRF cookie not set.",
            ),
            (
                OriginProof {
                    cookie: Some("abc"),
                    ..good()
                },
                "CSRF cookie has incorrect length.",
            ),
            (
                OriginProof {
                    cookie: Some(&odd),
                    ..good()
                },
                "CSRF cookie has invalid characters.",
            ),
            (
                OriginProof {
                    header: None,
                    ..good()
                },
                "CSRF token missing.",
            ),
            (
                OriginProof {
                    header: Some(&other),
                    ..good()
                },
                "CSRF token from the 'X-Csrftoken' HTTP header incorrect.",
            ),
            (
                OriginProof {
                    header: Some(""),
                    ..good()
                },
                "CSRF token from the 'X-Csrftoken' HTTP header has incorrect length.",
            ),
            (
                OriginProof {
                    form: Some(&other),
                    ..good()
                },
                "CSRF token from POST incorrect.",
            ),
            (
                OriginProof {
                    foreign_origin: Some("https://evil.example"),
                    ..good()
                },
                "Origin checking failed - https://evil.example does not match any trusted origins.",
            ),
        ] {
            assert_eq!(reason(proof), text);
        }
    }
}
