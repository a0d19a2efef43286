//! The words that stand before a token, as front ends already write them.

use hyper::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::identity::{Credentials, Denied};
use crate::config::{self, Identity};

/// Places of tokens, and the words before them.
#[derive(Clone, Debug)]
pub struct Words {
    /// In `Authorization`. The first one is asked for in a 401.
    header: Vec<String>,
    /// In `Sec-WebSocket-Protocol`.
    protocols: Vec<String>,
    /// True if a subprotocol that is alone is a token.
    alone: bool,
}

/// A token among the subprotocols of a handshake, and the one to agree on.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    pub token: String,
    /// As the client spells it.
    pub agreed: String,
}

impl Words {
    #[must_use]
    pub fn of(settings: &config::Auth) -> Self {
        let texts = |words: &[config::HeaderWord]| words.iter().map(ToString::to_string).collect();
        let mut header: Vec<String> = texts(&settings.token_words);
        if header.is_empty() {
            let own = match settings.identity {
                Identity::DjangoToken => "Token",
                _ => "Bearer",
            };
            header.push(own.to_owned());
        }
        Words {
            header,
            protocols: texts(&settings.token_protocols),
            alone: settings.token_is_protocol,
        }
    }

    /// Returns the word before a token in `Authorization`.
    #[must_use]
    pub fn header(&self) -> &str {
        self.header.first().map_or("Bearer", String::as_str)
    }

    /// Returns the subprotocol that stands before a token, if there is one.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocols.first().map(String::as_str)
    }

    /// Returns the token of `Authorization: WORD TOKEN`.
    #[must_use]
    pub fn in_header(&self, asked: &Credentials<'_>) -> Option<String> {
        let header = asked.text(&AUTHORIZATION)?;
        let (word, token) = header.trim().split_once(' ')?;
        is_one(&self.header, word).then(|| token.trim().to_owned())
    }

    /// Returns the token of `Sec-WebSocket-Protocol: WORD, TOKEN`, or of `Sec-WebSocket-Protocol:
    /// TOKEN`.
    #[must_use]
    pub fn in_protocol(&self, asked: &Credentials<'_>) -> Option<Offered> {
        let header = asked.text(&SEC_WEBSOCKET_PROTOCOL)?;
        let mut names = header.split(',').map(str::trim);
        if let Some(word) = names.find(|name| is_one(&self.protocols, name)) {
            return Some(Offered {
                token: names.next()?.to_owned(),
                agreed: word.to_owned(),
            });
        }
        let alone = header.trim();
        (self.alone && !alone.is_empty() && !alone.contains(',')).then(|| Offered {
            token: alone.to_owned(),
            agreed: alone.to_owned(),
        })
    }

    /// Returns the `WWW-Authenticate` header that goes with a 401; without one the answer is 403,
    /// as REST framework has it for sessions. What is added for a bad token is RFC 6750's (section
    /// 3).
    #[must_use]
    pub fn challenge(&self, denied: &Denied) -> Option<HeaderValue> {
        let more = match denied {
            Denied::NoToken => "",
            Denied::BadToken(_) => ", error=\"invalid_token\"",
            Denied::ExpiredToken => ", error=\"invalid_token\", error_description=\"expired\"",
            Denied::NoSession | Denied::Forged(_) | Denied::Limited(_) | Denied::Unavailable(_) => {
                return None;
            }
        };
        let word = self.header();
        HeaderValue::try_from(format!("{word} realm=\"api\"{more}")).ok()
    }
}

fn is_one(words: &[String], name: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn words() -> Words {
        Words {
            header: vec!["JWT".to_owned(), "Bearer".to_owned()],
            protocols: vec!["access_token".to_owned(), "jwt".to_owned()],
            alone: false,
        }
    }

    /// Returns the contents of these two headers.
    fn found(words: &Words, header: &'static str, protocol: &'static str) -> Option<Offered> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        let asked = Credentials {
            headers: &headers,
            query: None,
        };
        let in_header = words.in_header(&asked).map(|token| Offered {
            token,
            agreed: String::new(),
        });
        in_header.or_else(|| words.in_protocol(&asked))
    }

    fn offered(token: &str, agreed: &str) -> Offered {
        Offered {
            token: token.to_owned(),
            agreed: agreed.to_owned(),
        }
    }

    #[test]
    fn a_token_stands_after_any_of_the_words() {
        let words = words();
        assert_eq!(found(&words, "jwt  a.b.c", ""), Some(offered("a.b.c", "")));
        assert_eq!(
            found(&words, "bearer a.b.c", ""),
            Some(offered("a.b.c", ""))
        );
        let protocols = "chat, access_token, d.e.f";
        assert_eq!(
            found(&words, "", protocols),
            Some(offered("d.e.f", "access_token"))
        );
        assert_eq!(
            found(&words, "", "JWT, d.e.f"),
            Some(offered("d.e.f", "JWT"))
        );
    }

    #[test]
    fn a_token_stands_alone_only_where_that_is_set() {
        let mut words = words();
        assert_eq!(found(&words, "", "a.b.c"), None);
        words.alone = true;
        assert_eq!(found(&words, "", "a.b.c"), Some(offered("a.b.c", "a.b.c")));
        assert_eq!(found(&words, "", "a.b.c, chat"), None);
        assert_eq!(found(&words, "", ""), None);
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        for (header, protocol) in [
            ("Basic YTpi", ""),
            ("Bearer", ""),
            ("Token a", ""),
            ("", "access_token"),
            ("", "a.b.c, d"),
        ] {
            assert_eq!(
                found(&words(), header, protocol),
                None,
                "{header} {protocol}"
            );
        }
    }

    #[test]
    fn the_first_word_is_asked_for() {
        let challenge = words().challenge(&Denied::NoToken).unwrap();
        assert_eq!(challenge, "JWT realm=\"api\"");
        assert!(words().challenge(&Denied::NoSession).is_none());
    }
}
