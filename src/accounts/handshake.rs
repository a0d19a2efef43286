//! Tokens of sockets. Browsers can set no header: they send theirs as a subprotocol, or in the address.

use hyper::{
    Request,
    header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL},
};

use crate::auth::identity::Credentials;

/// Subprotocol that stands before a token.
const TOKEN_PROTOCOL: &str = "access_token";

/// The token of a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketToken {
    pub token: Option<String>,
    /// The subprotocol to agree on.
    pub agreed: Option<String>,
}

impl SocketToken {
    /// Returns the token of a handshake: of the header, else of the subprotocols
    /// `access_token, <token>`, else of the parameter `token`.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let header = request.headers().get(AUTHORIZATION).and_then(text);
        if let Some((scheme, token)) = header.as_deref().and_then(|text| text.split_once(' '))
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return SocketToken {
                token: Some(token.to_owned()),
                agreed: None,
            };
        }
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let offered: Vec<String> = offered.iter().filter_map(text).collect();
        let offered = offered.join(",");
        let mut offered = offered.split(',').map(str::trim);
        if offered.next() == Some(TOKEN_PROTOCOL)
            && let Some(token) = offered.next()
        {
            return SocketToken {
                token: Some(token.to_owned()),
                agreed: Some(TOKEN_PROTOCOL.to_owned()),
            };
        }
        SocketToken {
            token: Credentials::of(request).parameter("token"),
            agreed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_comes_before_the_subprotocol_and_that_before_the_address() {
        let of = |headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/ws?token=query");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let found = SocketToken::of(&request.body(()).unwrap());
            (found.token.unwrap(), found.agreed.is_some())
        };
        let header = ("authorization", "bearer header");
        let offered = ("sec-websocket-protocol", "access_token, offered");
        assert_eq!(of(&[]), ("query".to_owned(), false));
        assert_eq!(of(&[offered]), ("offered".to_owned(), true));
        assert_eq!(of(&[header, offered]), ("header".to_owned(), false));
        let other = ("sec-websocket-protocol", "chat, access_token");
        assert_eq!(
            of(&[("authorization", "Token x"), other]),
            ("query".to_owned(), false)
        );
    }
}
