//! Many at once: everything happens exactly once, and everybody sees all of it.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use crate::support::{Connection, Server, Socket, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_open_the_same_conversation_at_once_share_the_one_that_is_made() {
    let server = Server::start().await;
    for round in 0..5 {
        let mut asking = Vec::new();
        for number in 0..50 {
            let (one, two) = (format!("a{round}"), format!("b{round}"));
            let (one, two) = if number % 2 == 0 {
                (one, two)
            } else {
                (two, one)
            };
            let body = json!({"participant1_id": one, "participant2_id": two});
            let bytes = request("POST", "/api/chat/conversations/", &[], Some(&body));
            let mut connection = Connection::to(server.address).await;
            asking.push(tokio::spawn(async move {
                let answer = connection.ask(bytes).await;
                (
                    answer.status,
                    answer.json()["id"].as_str().unwrap().to_owned(),
                )
            }));
        }
        let (mut made, mut ids) = (0, HashSet::new());
        for asking in asking {
            let (status, id) = asking.await.unwrap();
            assert!(status == 200 || status == 201, "{status}");
            made += usize::from(status == 201);
            ids.insert(id);
        }
        assert_eq!((made, ids.len()), (1, 1));
    }
    assert_eq!(
        server
            .directory
            .value::<i64>("SELECT count(*) FROM conversations"),
        5
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_say_at_once_is_stored_once_and_heard_once_by_everyone() {
    const SOCKETS: usize = 20;
    const EACH: usize = 10;
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(server.socket(&id).await);
    }
    let mut talking = Vec::new();
    for (speaker, mut socket) in sockets.into_iter().enumerate() {
        talking.push(tokio::spawn(async move {
            for number in 0..EACH {
                socket.say(&format!("{speaker}/{number}")).await;
            }
            socket
        }));
    }
    let mut stories = HashSet::new();
    for talking in talking {
        let mut socket: Socket = talking.await.unwrap();
        let mut story = Vec::new();
        for _ in 0..SOCKETS * EACH {
            story.push(socket.heard().await);
        }
        stories.insert(story);
    }
    assert_eq!(
        stories.len(),
        1,
        "everyone heard the same in the same order"
    );
    let story = stories.into_iter().next().unwrap();
    assert_eq!(
        BTreeSet::from_iter(&story).len(),
        SOCKETS * EACH,
        "nothing twice"
    );
    let mut stored = server.contents(&id).await;
    let mut heard = story.clone();
    stored.sort();
    heard.sort();
    assert_eq!(stored, heard);
    for speaker in 0..SOCKETS {
        let prefix = format!("{speaker}/");
        let own: Vec<_> = story
            .iter()
            .filter(|text| text.starts_with(&prefix))
            .collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_joins_while_others_talk_misses_nothing() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut speaker = server.socket(&id).await;
    let talking = tokio::spawn(async move {
        for number in 0..100 {
            speaker.say(&number.to_string()).await;
            speaker.heard().await;
        }
        speaker.say("the end").await;
    });
    for _ in 0..10 {
        let (mut socket, history) = server.join(&id).await;
        let mut known: BTreeSet<u32> = history
            .iter()
            .filter_map(|message| message["content"].as_str()?.parse().ok())
            .collect();
        let before = known.len();
        if history
            .iter()
            .any(|message| message["content"] == "the end")
        {
            break;
        }
        loop {
            match socket.heard().await.as_str() {
                "the end" => break,
                number => known.insert(number.parse().unwrap()),
            };
        }
        assert_eq!(known.len(), 100, "{before} were in the history");
    }
    talking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_read_marks_at_once_leave_one_receipt() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let message = server
        .post(&send, json!({"sender_id": "a", "content": "x"}))
        .await
        .json();
    let path = format!(
        "/api/chat/messages/{}/read/",
        message["id"].as_str().unwrap()
    );
    let mut asking = Vec::new();
    for _ in 0..40 {
        let mut connection = Connection::to(server.address).await;
        let bytes = request("PUT", &path, &[], Some(&json!({"user_id": "bob"})));
        asking.push(tokio::spawn(async move { connection.ask(bytes).await }));
    }
    let mut receipts = HashSet::new();
    for asking in asking {
        let answer = asking.await.unwrap();
        assert_eq!(answer.status, 200);
        receipts.insert(answer.text().to_owned());
    }
    assert_eq!(receipts.len(), 1, "all were told of the same receipt");
}
