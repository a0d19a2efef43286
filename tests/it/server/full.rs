//! A server with as many connections as it may have.

use serde_json::json;

use crate::support::{Server, request, until};

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_back() {
    let server = Server::with(&[("server.max_connections", "2")]).await;
    let mut first = server.connect().await;
    let second = server.connect().await;
    let healthz = request("GET", "/healthz", &[], None);
    assert_eq!(first.ask(&healthz).await.status, 200);
    let mut third = server.connect().await;
    let page = request("GET", "/api/chat/", &[], None);
    let answer = third.ask(&page).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    third.closed().await;
    drop(second);
    until("a place", async || {
        server.connect().await.ask(&page).await.status == 200
    })
    .await;
    let metrics = first.ask(request("GET", "/metrics", &[], None)).await;
    assert!(
        !metrics
            .text()
            .contains("chatferry_connections_refused_total 0\n")
    );
}

#[tokio::test]
async fn a_full_server_is_well_but_not_ready_and_keeps_its_clients() {
    let server = Server::with(&[("server.max_connections", "1")]).await;
    let mut only = server.connect().await;
    let healthz = request("GET", "/healthz", &[], None);
    assert_eq!(only.ask(&healthz).await.status, 200);
    let ask = async |method: &str, path: &str| {
        let mut connection = server.connect().await;
        let answer = connection.ask(request(method, path, &[], None)).await;
        connection.closed().await;
        answer
    };
    let well = ask("GET", "/healthz").await;
    assert_eq!((well.status, well.json()), (200, json!({"status": "ok"})));
    let ready = ask("GET", "/readyz").await;
    let full = json!({"status": "full", "store": "ok", "layer": "ok"});
    assert_eq!((ready.status, ready.json()), (503, full));
    let metrics = ask("GET", "/metrics").await;
    let none_refused = "chatferry_connections_refused_total 0\n";
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains(none_refused));
    assert_eq!(ask("POST", "/healthz").await.status, 405);
    assert_eq!(ask("GET", "/api/chat/").await.status, 503);
    assert_eq!(only.ask(&healthz).await.status, 200);
}
