//! Both sides asked the same: no difference with the reference as it is, and one with each change.

use serde_json::json;

use super::{django::Django, upstream::Upstream};
use crate::support::{Port, Server, Socket, request, socket::frame, until};

const ALL_SHADOWED: [(&str, &str); 2] = [
    ("gateway.rollout_percent", "0"),
    ("gateway.shadow_percent", "100"),
];

/// The differences that were counted, by kind.
pub async fn mismatches(server: &Server) -> Vec<(String, f64)> {
    let text = server.get("/metrics").await;
    text.text()
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("chatferry_shadow_mismatch_total{kind=\"")?;
            let (kind, count) = rest.split_once("\"} ")?;
            Some((kind.to_owned(), count.parse().unwrap()))
        })
        .filter(|(_, count)| *count > 0.0)
        .collect()
}

async fn compared(server: &Server) -> f64 {
    server.metric("chatferry_shadow_compared_total").await
}

/// How often both sides have been asked, whether they could be compared or not.
async fn asked(server: &Server) -> f64 {
    compared(server).await + server.metric("chatferry_shadow_skipped_total").await
}

/// Waits until a difference of this kind has been counted.
async fn differs(server: &Server, kind: &str) {
    until(kind, async || {
        mismatches(server)
            .await
            .iter()
            .any(|(found, _)| found == kind)
    })
    .await;
}

/// Says something in a new conversation, and waits until what was heard of it has been counted as
/// different.
async fn a_message_differs(server: &Server) -> String {
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.say("hello").await;
    socket.json().await;
    differs(server, "message").await;
    id
}

/// Everything a client does, on one conversation.
async fn chat(server: &Server, id: &str) {
    let mut alice = server.socket(id).await;
    let mut bob = server.socket(id).await;
    alice.say("하나 <two> \u{1f600}").await;
    let told = bob.json().await;
    assert_eq!(alice.json().await, told);
    let message = told["message"]["id"].clone();
    for event in [
        json!({"type": "mark_as_read", "message_id": message, "user_id": "bob"}),
        json!({"type": "typing", "user_id": "bob", "is_typing": true}),
        json!({"type": "chat_message", "sender_id": 7, "content": "n", "message_type": 1.5}),
    ] {
        bob.send(&event).await;
        assert_eq!(bob.json().await, alice.json().await);
    }
    bob.send_text("{").await;
    bob.error().await;
    bob.connection.send(frame(8, 1000_u16.to_be_bytes())).await;
    bob.close_code().await;
    server.socket(id).await;
}

async fn read(server: &Server, id: &str) {
    for path in [
        format!("conversations/{id}/"),
        format!("conversations/{id}/messages/"),
        format!("conversations/{id}"),
        "users/alice/conversations/".to_owned(),
        "conversations/95031212-7823-4748-bb78-b212d36b6db3/".to_owned(),
        "conversations/".to_owned(),
    ] {
        for (method, accept) in [
            ("GET", "*/*"),
            ("HEAD", "*/*"),
            ("OPTIONS", "*/*"),
            ("GET", "text/html"),
        ] {
            let path = format!("/api/chat/{path}");
            let before = asked(server).await;
            let mut client = server.connect().await;
            client
                .send(request(method, &path, &[("Accept", accept)], None))
                .await;
            client.head().await;
            // One after the other: what is too much at once is skipped.
            if path.ends_with('/') {
                until("a comparison", async || asked(server).await > before).await;
            }
        }
    }
}

#[tokio::test]
async fn the_reference_as_it_is_differs_in_nothing() {
    let Some(django) = Django::start().await else {
        return;
    };
    let server = django.gateway(&ALL_SHADOWED).await;
    let id = server.conversation().await;
    for _ in 0..3 {
        chat(&server, &id).await;
    }
    until("many comparisons", async || {
        read(&server, &id).await;
        compared(&server).await >= 50.0
    })
    .await;
    assert_eq!(mismatches(&server).await, []);
    // And the same reads served here.
    let here = django.gateway(&[("gateway.shadow_percent", "100")]).await;
    until("comparisons", async || {
        read(&here, &id).await;
        compared(&here).await >= 15.0
    })
    .await;
    assert_eq!(mismatches(&here).await, []);
}

#[tokio::test]
async fn a_renamed_field_is_noticed_on_sockets_and_by_rest() {
    let change = [
        (
            "chat/serializers.py",
            "\"message_type\", \"created_at\"",
            "\"kind\", \"created_at\"",
        ),
        (
            "chat/serializers.py",
            "class MessageSerializer(serializers.ModelSerializer):\n",
            "class MessageSerializer(serializers.ModelSerializer):\n    \
             kind = serializers.CharField(source=\"message_type\")\n\n",
        ),
    ];
    let Some(django) = Django::changed(&change).await else {
        return;
    };
    let server = django.gateway(&ALL_SHADOWED).await;
    let id = a_message_differs(&server).await;
    let _again: Socket = server.socket(&id).await;
    server.get(&format!("/api/chat/conversations/{id}/")).await;
    differs(&server, "json").await;
}

#[tokio::test]
async fn another_datetime_format_is_noticed() {
    let change = [(
        "service/settings.py",
        "REST_FRAMEWORK = {",
        "REST_FRAMEWORK = {\"DATETIME_FORMAT\": \"%Y-%m-%d %H:%M:%S\", ",
    )];
    let Some(django) = Django::changed(&change).await else {
        return;
    };
    let server = django.gateway(&ALL_SHADOWED).await;
    a_message_differs(&server).await;
}

#[tokio::test]
async fn another_close_code_and_another_refusal_are_noticed() {
    let change = [
        (
            "chat/consumers.py",
            "            await self.send_json({\"error\": \"Invalid JSON format\"})\n",
            "            await self.close(code=4400)\n",
        ),
        (
            "chat/consumers.py",
            "            await self.close()\n",
            "            await self.accept()\n            await self.close(code=4404)\n",
        ),
    ];
    let Some(django) = Django::changed(&change).await else {
        return;
    };
    let server = django.gateway(&ALL_SHADOWED).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.send_text("{").await;
    assert_eq!(socket.close_code().await, 4400);
    differs(&server, "close").await;
    let nowhere = "95031212-7823-4748-bb78-b212d36b6db3";
    let mut socket = Socket::open(server.connect().await, nowhere).await;
    assert_eq!(socket.close_code().await, 4404);
    differs(&server, "handshake").await;
}

#[tokio::test]
async fn a_read_served_here_is_compared_with_the_upstream_s_answer() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    )
    .await;
    let server = upstream.gateway(&[("gateway.shadow_percent", "100")]).await;
    let nobody = server.get("/api/chat/users/nobody/conversations/").await;
    assert_eq!((nobody.status, nobody.text()), (200, "[]"));
    differs(&server, "header").await;
    server
        .get("/api/chat/conversations/95031212-7823-4748-bb78-b212d36b6db3/")
        .await;
    differs(&server, "status").await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_asked_is_no_difference() {
    let nobody = Port::claim();
    let url = format!("http://127.0.0.1:{}", nobody.number);
    let flags = [
        ("gateway.upstream", url.as_str()),
        ("gateway.rollout_percent", "100"),
        ("gateway.shadow_percent", "100"),
    ];
    let server = Server::with(&flags).await;
    assert_eq!(
        server.get("/api/chat/users/a/conversations/").await.status,
        200
    );
    until("the question to be skipped", async || {
        server.metric("chatferry_shadow_skipped_total").await > 0.5
    })
    .await;
    assert_eq!(mismatches(&server).await, []);
}
