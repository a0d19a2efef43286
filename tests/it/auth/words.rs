//! The words that front ends write before a token.

use super::{
    token::{BY_SECRET, token_of},
    wire::Caller,
};
use crate::support::{Server, Socket, request, socket::path_of};

const LIST: &str = "/api/chat/users/alice/conversations/";

#[tokio::test]
async fn words_of_the_header_are_settings_and_a_refusal_asks_for_the_first() {
    let words = [("auth.token_words", "JWT,Bearer")];
    let server = Server::with(&[&BY_SECRET[..], &words].concat()).await;
    let ask = async |header: String| {
        let headers = [("Authorization", header.as_str())];
        server.send(request("GET", LIST, &headers, None)).await
    };
    let token = token_of("alice");
    for (word, status) in [("JWT", 200), ("jwt", 200), ("Bearer", 200), ("Token", 401)] {
        assert_eq!(
            ask(format!("{word} {token}")).await.status,
            status,
            "{word}"
        );
    }
    let refused = server.get(LIST).await;
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, Some("JWT realm=\"api\""));
}

#[tokio::test]
async fn words_of_the_subprotocol_are_settings_and_the_chosen_one_is_answered() {
    let words = [("auth.token_protocols", "access_token,Bearer,jwt")];
    let server = Server::with(&[&BY_SECRET[..], &words].concat()).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let token = token_of("alice");
    for word in ["access_token", "Bearer", "jwt", "JWT"] {
        let header = format!("Sec-WebSocket-Protocol: chat, {word}, {token}\r\n");
        let (answer, mut socket) = opened(&server, &id, &header).await;
        assert_eq!(answer.as_deref(), Some(word));
        socket.works().await;
    }
    let alone = format!("Sec-WebSocket-Protocol: {token}\r\n");
    let refused = Socket::try_open(server.connect().await, &path_of(&id), &alone).await;
    assert_eq!(refused.err().unwrap().status, 401);

    let alone_is_good = [("auth.token_is_protocol", "true")];
    let server = Server::with(&[&BY_SECRET[..], &alone_is_good].concat()).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let (answer, mut socket) = opened(&server, &id, &alone).await;
    assert_eq!(answer, Some(token));
    socket.works().await;
}

/// A socket, and the subprotocol that the answer agrees on.
async fn opened(server: &Server, id: &str, header: &str) -> (Option<String>, Socket) {
    let mut connection = server.connect().await;
    let bytes = crate::support::socket::handshake(&path_of(id), header);
    let answer = connection.ask(bytes).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    let agreed = answer.header("sec-websocket-protocol").map(str::to_owned);
    let mut socket = Socket::over(connection);
    socket.history().await;
    (agreed, socket)
}
