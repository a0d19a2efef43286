//! A share of the conversations here, the rest with Django; and what a change does.

use super::upstream::{Call, Upstream};
use crate::support::{
    Connection, Directory, Process, Server, Socket, request,
    socket::{CLOSE, frame, handshake, path_of},
    until,
};
use chatferry::{
    config::{Gateway, OnChange},
    rollout::{Side, side_of},
};

/// Stands for Django: answers every read with `django`, takes every socket and greets.
async fn django() -> Upstream {
    Upstream::start(|mut call: Call| async move {
        while let Some(head) = call.head().await {
            if !head.to_lowercase().contains("\r\nupgrade: websocket\r\n") {
                call.answer("\"django\"").await;
                continue;
            }
            call.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\n\r\n",
            )
            .await;
            return while call.more().await {};
        }
    })
    .await
}

fn settings(server: &Server, percent: u8, on_change: OnChange) -> Gateway {
    Gateway {
        rollout_percent: percent,
        on_change,
        ..server.app.config.gateway.clone()
    }
}

fn reload(server: &Server, percent: u8, on_change: OnChange) {
    let settings = settings(server, percent, on_change);
    server.site.gateway.as_ref().unwrap().reload(&settings);
}

/// Conversations of both sides at 50 %, from the server itself.
async fn conversations(server: &Server) -> (Vec<String>, Vec<String>) {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for number in 0.. {
        let id = server.conversation_of("alice", &number.to_string()).await;
        match side_of(id.parse().unwrap(), 50) {
            Side::Here => here.push(id),
            Side::Django => there.push(id),
        }
        if here.len() >= 3 && there.len() >= 3 {
            break;
        }
    }
    (here, there)
}

async fn is_here(server: &Server, id: &str) -> bool {
    let answer = server
        .get(&format!("/api/chat/conversations/{id}/messages/"))
        .await;
    let by_rest = answer.text() != "\"django\"";
    let answer = server.send(handshake(&path_of(id), "")).await;
    let by_socket = answer.header("sec-websocket-accept").is_some();
    assert_eq!(by_rest, by_socket, "REST and sockets alike");
    by_rest
}

#[tokio::test]
async fn a_share_of_the_conversations_is_served_here_and_the_rest_by_django() {
    let upstream = django().await;
    let server = upstream.gateway(&[]).await;
    let (here, there) = conversations(&server).await;
    for (percent, first, second) in [(50, true, false), (0, false, false), (100, true, true)] {
        reload(&server, percent, OnChange::Leave);
        for id in &here {
            assert_eq!(is_here(&server, id).await, first, "{id} at {percent}");
        }
        for id in &there {
            assert_eq!(is_here(&server, id).await, second, "{id} at {percent}");
        }
        let list = server.get("/api/chat/users/alice/conversations/").await;
        assert_eq!(list.text() == "\"django\"", percent == 0);
    }
}

#[tokio::test]
async fn sockets_that_move_are_closed_with_1012_and_the_others_stay() {
    let upstream = django().await;
    let server = upstream.gateway(&[("server.drain_s", "1")]).await;
    let (here, there) = conversations(&server).await;
    let mut stays = server.socket(&here[0]).await;
    let mut moves = server.socket(&there[0]).await;
    reload(&server, 50, OnChange::Drain);
    assert_eq!(moves.close_code().await, 1012);
    stays.works().await;
    // And back again: this one is Django's now.
    let again = Socket::try_open(server.connect().await, &path_of(&there[0]), "").await;
    let mut again = again.unwrap();
    reload(&server, 100, OnChange::Drain);
    assert_eq!(again.close_code().await, 1012);
    again
        .connection
        .send(frame(CLOSE, 1012_u16.to_be_bytes()))
        .await;
    again.ended().await;
    stays.works().await;
    assert!((server.metric("chatferry_gateway_moved_total").await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn sockets_may_also_be_left_where_they_are() {
    let upstream = django().await;
    let server = upstream.gateway(&[("server.drain_s", "0")]).await;
    let (here, there) = conversations(&server).await;
    let mut socket = server.socket(&here[0]).await;
    reload(&server, 0, OnChange::Leave);
    socket.works().await;
    assert!(!is_here(&server, &here[0]).await, "new ones move at once");
    // Once another socket has been closed by a change, this one would have been by the change
    // before it.
    reload(&server, 100, OnChange::Drain);
    let mut moves = server.socket(&there[0]).await;
    reload(&server, 50, OnChange::Drain);
    assert_eq!(moves.close_code().await, 1012);
    socket.works().await;
}

#[tokio::test]
async fn sighup_reads_the_share_again_and_bad_settings_change_nothing() {
    let upstream = django().await;
    let directory = Directory::new();
    let write =
        |text: String| std::fs::write(directory.path().join("chatferry.toml"), text).unwrap();
    let url = upstream.url();
    write(format!(
        "gateway.upstream = '{url}'\ngateway.rollout_percent = 0"
    ));
    let mut server = Process::start(&directory, &[]).await;
    let address = server.address;
    let status = async || {
        let read = request(
            "GET",
            "/api/chat/conversations/95031212-7823-4748-bb78-b212d36b6db3/",
            &[],
            None,
        );
        Connection::to(address).await.ask(read).await.status
    };
    assert_eq!(status().await, 200, "from Django");
    write(format!(
        "gateway.upstream = '{url}'\ngateway.rollout_percent = 100"
    ));
    server.signal("HUP").await;
    until("the new share", async || status().await == 404).await;
    for wrong in [
        "gateway.rollout_percent = 101",
        "gateway.rollout_percnt = 0",
    ] {
        write(format!("gateway.upstream = '{url}'\n{wrong}"));
        server.signal("HUP").await;
        let (name, _) = wrong.split_once(" =").unwrap();
        server
            .logs(&format!("the settings stay as they are error={name}"))
            .await;
        assert_eq!(status().await, 404, "as before");
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.0, 0);
}
