//! What probes and clients are told when something is wrong that is nobody's doing.

use crate::support::{Server, request};

#[tokio::test]
async fn a_limit_on_requests_does_not_refuse_probes() {
    let server = Server::with(&[("limits.address.requests", "1/day")]).await;
    let mut connection = server.connect().await;
    let list = request("GET", "/api/chat/users/alice/conversations/", &[], None);
    assert_eq!(connection.ask(&list).await.status, 200);
    assert_eq!(connection.ask(&list).await.status, 429);
    for _ in 0..3 {
        for probe in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(server.get(probe).await.status, 200, "{probe}");
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_no_database_that_is_away() {
    let server = Server::start().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "hello").await;
    let sql = "UPDATE messages SET updated_at = 'not a date'";
    let database = rusqlite::Connection::open(server.directory.database()).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    let path = format!("/api/chat/conversations/{id}/messages/");
    server.get(&path).await;
    let text = server.get("/metrics").await;
    let errors = |kind: &str| format!("chatferry_store_errors_total{{kind=\"{kind}\"}} ");
    let of = |kind| {
        let line = text
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(&*errors(kind)));
        line.unwrap_or("0").to_owned()
    };
    assert_eq!(of("unavailable"), "0");
    assert_eq!(server.get("/readyz").await.status, 200);
}
