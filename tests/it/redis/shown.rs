//! What a live Django shows, Chatferry shows: as often, and as deep.

use std::sync::Arc;

use serde_json::json;

use super::{instance::Redis, world::Layer};
use crate::support::{Directory, Server, soon};

#[tokio::test]
async fn three_events_with_one_message_id_are_three_frames() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let url = redis.url();
        let flags = [("layer.backend", backend), ("layer.hosts", &*url)];
        let server = Server::on(Arc::new(Directory::new()), &flags).await;
        let id = server.conversation().await;
        let message = server.stored(&id, "alice", "first").await;
        let mut socket = server.socket(&id).await;
        let django = Layer::at(&url, &[("layer.backend", backend)]).await;
        // The first is the event of a message that the history has shown already.
        for content in ["first", "edited", "edited again"] {
            let mut message = message.clone();
            message["content"] = json!(content);
            let event = json!({"type": "chat_message", "message": message});
            let event = super::world::event(&event.to_string());
            let sent = django.layer.group_send(&format!("chat_{id}"), event);
            sent.await.unwrap();
        }
        assert_eq!(soon("the edit", socket.heard()).await, "edited");
        assert_eq!(socket.heard().await, "edited again");
        let mut said = server.socket(&id).await;
        said.say("live").await;
        let live = said.json().await;
        assert_eq!(live["message"]["content"], "live");
        for content in ["corrected", "corrected again"] {
            let mut message = live["message"].clone();
            message["content"] = json!(content);
            let event = json!({"type": "chat_message", "message": message});
            let event = super::world::event(&event.to_string());
            let sent = django.layer.group_send(&format!("chat_{id}"), event);
            sent.await.unwrap();
        }
        assert_eq!(said.heard().await, "corrected");
        assert_eq!(said.heard().await, "corrected again");
    }
}

#[tokio::test]
async fn a_frame_is_passed_on_as_deep_as_it_is_read() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let url = redis.url();
        let flags = [("layer.backend", backend), ("layer.hosts", &*url)];
        let directory = Arc::new(Directory::new());
        let one = Server::on(Arc::clone(&directory), &flags).await;
        let other = Server::on(directory, &flags).await;
        let id = one.conversation().await;
        let (mut here, mut there) = (one.socket(&id).await, other.socket(&id).await);
        let deep = format!("{}{}", "[".repeat(950), "]".repeat(950));
        let typing = format!(r#"{{"type": "typing", "user_id": "a", "is_typing": {deep}}}"#);
        here.send_text(&typing).await;
        let want = format!(r#"{{"type": "typing_status", "user_id": "a", "is_typing": {deep}}}"#);
        assert_eq!(here.text().await, want);
        assert_eq!(soon("the frame", there.text()).await, want);
    }
}
