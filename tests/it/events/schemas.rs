//! The schemas of the events, as they are served.

use serde_json::Value;

use super::KEPT;
use crate::support::Server;

#[tokio::test]
async fn the_schemas_of_events_are_served_where_there_are_sinks() {
    let without = Server::start().await;
    assert_eq!(without.get("/events.json").await.status, 404);
    let server = Server::with(&KEPT).await;
    let answer = server.get("/events.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/schema+json")
    );
    let schema = answer.json();
    let id = server.conversation().await;
    server.stored(&id, "alice", "a").await;
    let events = super::events_after(super::outbox_of(&server), 0).await;
    for event in events {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        let described = &schema["$defs"][&event.event_type]["properties"]["data"];
        let names = |value: &Value| {
            let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(&data), names(&described["properties"]));
        let required = described["required"].as_array().unwrap();
        assert_eq!(required.len(), names(&data).len());
    }
}
