//! Files that are sent with messages, from the upload to their deletion.

mod links;
mod refused;
mod s3;

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use chatferry::{chat::NewMessage, files::media, id::AttachmentId};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Client, OFFER,
    api::{ask, ask_with, get, post},
    groups::group,
};
use crate::{
    auth::{
        token::{BY_SECRET, bearer},
        wire::Caller,
    },
    support::{Answer, Directory, Server, http::id_of, until},
};

/// Settings of a server that keeps files in a directory, and looks often for what it may delete.
pub fn settings(place: &str) -> [(&str, &str); 2] {
    [("attachments.place", place), ("attachments.sweep_s", "1")]
}

/// A server on SQLite that keeps files beside it, and the place of the files.
async fn server(more: &[(&str, &str)]) -> (Server, PathBuf) {
    let directory = Arc::new(Directory::new());
    let place = directory.path().join("files");
    let mut flags = settings(place.to_str().unwrap()).to_vec();
    flags.extend(more);
    (Server::on(directory, &flags).await, place)
}

/// The bytes of a request that uploads a file.
fn upload_of(user: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = format!("/api/v1/attachments?user={user}&name={name}");
    upload_to(&path, "", bytes)
}

fn upload_to(path: &str, headers: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        bytes.len()
    );
    [head.as_bytes(), bytes].concat()
}

/// Uploads a file, which must be kept.
pub async fn uploaded(server: &Server, user: &str, name: &str, bytes: &[u8]) -> Value {
    let answer = server.send(upload_of(user, name, bytes)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// An image of one colour.
pub fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = RgbImage::from_pixel(width, height, image::Rgb([20, 90, 160]));
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A frame by which alice sends files.
fn sending(message: &str, conversation: &str, content: &str, files: &[&Value]) -> Value {
    let ids: Vec<&Value> = files.iter().map(|file| &file["id"]).collect();
    json!({
        "type": "send", "id": message, "conversation": conversation, "sender": "alice",
        "content": content, "attachments": ids,
    })
}

/// A link to an attachment, as a user asks for it.
async fn link(server: &Server, user: &str, file: &Value) -> Value {
    let path = format!("attachments?user={user}&ids={}", id_of(file));
    get(server, &path).await["attachments"][0].clone()
}

async fn fetch(server: &Server, link: &Value, url: &str) -> Answer {
    server.get(link[url].as_str().unwrap()).await
}

/// The names of all files below a directory.
fn files_below(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.flat_map(|path| {
        if path.is_dir() {
            files_below(&path)
        } else {
            vec![path]
        }
    });
    found.collect()
}

/// A test for every database and every place of files.
pub async fn a_file_is_sent_with_a_message_and_goes_with_it(server: &Server) {
    let id = server.conversation().await;
    let mut old = server.socket(&id).await;
    let (mut alice, mut bob) = (Client::open(server).await, Client::open(server).await);
    assert!(
        alice.hello["features"]
            .as_array()
            .unwrap()
            .contains(&json!("attachments"))
    );
    alice.subscribe(&id, None).await;
    bob.subscribe(&id, None).await;

    let bytes = picture(1200, 900, ImageFormat::Png);
    let photo = uploaded(server, "alice", "%EC%82%AC%EC%A7%84.png", &bytes).await;
    let known = json!({
        "id": photo["id"], "name": "사진.png", "type": "image/png", "size": bytes.len(),
        "width": 1200, "height": 900,
    });
    assert_eq!(photo, known);
    let note = uploaded(server, "alice", "note.txt", b"some text").await;

    let own = Uuid::now_v7().to_string();
    let frame = sending(&own, &id, "Look", &[&photo, &note]);
    let ack = {
        alice.send(frame.clone()).await;
        alice.next_of("ack").await
    };
    let message = &ack["message"];
    assert_eq!(message["content"], "Look");
    assert_eq!(message["kind"], "file");
    assert_eq!(message["attachments"], json!([photo, note]));
    assert_eq!(&bob.next_of("message").await["message"], message);
    // A client of Django's protocol gets a line for each.
    let heard = old.json().await;
    let text = heard["message"]["content"].as_str().unwrap();
    let address = format!("/api/v1/attachments/{}/file", id_of(&note));
    let line = format!("[note.txt]({address} \"text/plain, 9 bytes\")");
    assert_eq!(text.lines().last(), Some(line.as_str()));
    assert_eq!(text.lines().next(), Some("Look"));

    // Sent again it is the same message; with another one the files cannot be sent.
    alice.send(frame).await;
    assert_eq!(alice.next_of("ack").await["message"], *message);
    let again = Uuid::now_v7().to_string();
    alice.send(sending(&again, &id, "", &[&note])).await;
    let refused = alice.next_of("nack").await;
    assert_eq!(
        (&refused["id"], &refused["code"]),
        (&json!(again), &json!("no_attachment"))
    );
    assert_eq!(server.contents(&id).await.len(), 1);

    // New text, the same files.
    let edit = json!({
        "type": "edit", "conversation": id, "message": own, "content": "Look here", "user": "alice",
    });
    alice.send(edit).await;
    let updated = bob.next_of("updated").await;
    assert_eq!(updated["message"]["content"], "Look here");
    assert_eq!(updated["message"]["attachments"], message["attachments"]);

    let links = link(server, "bob", &photo).await;
    let whole = fetch(server, &links, "url").await;
    assert_eq!((whole.status, whole.body == bytes), (200, true));
    let thumbnail = fetch(server, &links, "thumbnail_url").await;
    assert_eq!(
        (thumbnail.status, media::of(&thumbnail.body, false)),
        (200, "image/jpeg")
    );
    let size = image::load_from_memory(&thumbnail.body).unwrap();
    assert_eq!((size.width(), size.height()), (480, 360));

    let before = server.metric("chatferry_attachments_deleted_total").await;
    let delete = json!({
        "type": "delete", "conversation": id, "message": own, "user": "alice",
    });
    alice.send(delete).await;
    bob.next_of("deleted").await;
    let gone = fetch(server, &links, "url").await;
    assert_eq!(
        (gone.status, &gone.json()["code"]),
        (404, &json!("no_attachment"))
    );
    let path = format!("attachments?user=bob&ids={}", id_of(&photo));
    assert_eq!(get(server, &path).await["attachments"], json!([]));
    until("the files are deleted", async || {
        server.metric("chatferry_attachments_deleted_total").await >= before + 2.0
    })
    .await;
}

/// A test for every database: a member may be taken out of a group between the look at the rights and
/// the commit.
pub async fn a_stranger_stores_no_file_in_a_group(server: &Server) {
    let id = group(server, &["alice", "bob"]).await;
    let file = uploaded(server, "eve", "a.txt", b"of a stranger").await;
    let file: AttachmentId = id_of(&file).parse().unwrap();
    let new = NewMessage {
        id: None,
        conversation_id: id.parse().unwrap(),
        sender_id: "eve".into(),
        content: "a file".into(),
        message_type: "file".into(),
        is_deleted: false,
        attachments: vec![file],
    };
    let store = &server.app.store_with_groups;
    let stored = store.insert_message(new, Box::new(|_| {})).await;
    assert_eq!(stored.unwrap(), None);
    let kept = store.attachments(&[file]).await.unwrap();
    assert_eq!(kept[0].attachment.message_id, None);
}

/// A message of the same id elsewhere neither takes a file away nor keeps it. Messages of two and of
/// groups are in tables of their own, which each database must get right.
pub async fn a_file_stays_with_its_message_whatever_others_call_theirs(server: &Server) {
    let group = group(server, &["alice", "bob", "carol"]).await;
    let pair = server.conversation_of("bob", "eve").await;
    let own = server.conversation_of("alice", "bob").await;
    let other = self::group(server, &["bob", "eve"]).await;
    for (conversation, copy) in [(&group, &pair), (&own, &other)] {
        let note = uploaded(server, "alice", "note.txt", b"some text").await;
        let message = Uuid::now_v7().to_string();
        let mut body = json!({"id": message, "content": "Look", "attachments": [note["id"]]});
        let path = format!("conversations/{conversation}/messages");
        let sent = post(server, &format!("{path}?user=alice"), body.clone()).await;
        assert_eq!(sent.status, 201, "{}", sent.text());
        body = json!({"id": message, "content": "mine"});
        let said = format!("conversations/{copy}/messages?user=bob");
        assert_eq!(post(server, &said, body).await.status, 201);
        let file: AttachmentId = id_of(&note).parse().unwrap();
        let store = &server.app.store_with_groups;
        let placed = store.attachments(&[file]).await.unwrap();
        assert_eq!(placed[0].conversation_id, conversation.parse().ok());
        let link = link(server, "alice", &note).await;
        assert_eq!(fetch(server, &link, "url").await.status, 200);
        let path = format!("{path}/{message}?user=alice");
        assert_eq!(ask(server, "DELETE", &path, None).await.status, 204);
        assert_eq!(fetch(server, &link, "url").await.status, 404);
    }
}

#[tokio::test]
async fn a_file_stays_with_its_message_in_sqlite() {
    let (server, _place) = server(&[]).await;
    a_file_stays_with_its_message_whatever_others_call_theirs(&server).await;
}

#[tokio::test]
async fn a_stranger_stores_no_file_in_a_group_in_sqlite() {
    a_stranger_stores_no_file_in_a_group(&server(&[]).await.0).await;
}

#[tokio::test]
async fn a_file_is_sent_with_a_message_and_goes_with_it_in_sqlite() {
    let (server, place) = server(&[]).await;
    a_file_is_sent_with_a_message_and_goes_with_it(&server).await;
    assert_eq!(files_below(&place), [""; 0].map(PathBuf::from));
    let rows: i64 = server
        .directory
        .value("SELECT count(*) FROM chatferry_attachments");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_message_by_rest_may_be_files_alone() {
    let (server, _) = server(&[]).await;
    let id = server.conversation().await;
    let one = uploaded(
        &server,
        "alice",
        "a.webp",
        &picture(9, 9, ImageFormat::WebP),
    )
    .await;
    let two = uploaded(&server, "alice", "b.jpg", &picture(9, 9, ImageFormat::Jpeg)).await;
    let path = format!("conversations/{id}/messages?user=alice");
    let body = json!({"attachments": [two["id"], one["id"]]});
    let sent = post(&server, &path, body).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let message = sent.json();
    assert_eq!(
        (&message["content"], &message["kind"]),
        (&json!(""), &json!("image"))
    );
    assert_eq!(message["attachments"], json!([two, one]));
    let page = get(&server, &format!("conversations/{id}/messages")).await;
    assert_eq!(page["messages"], json!([message]));
    let last = &get(&server, &format!("conversations/{id}?user=bob")).await["last"];
    assert_eq!(*last, message);
    for wrong in [
        json!({}),
        json!({"attachments": []}),
        json!({"attachments": [one["id"], one["id"]]}),
        json!({"attachments": "x"}),
    ] {
        assert_eq!(
            post(&server, &path, wrong.clone()).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn an_upload_that_is_not_sent_is_deleted_after_a_time() {
    let (server, place) = server(&[("attachments.unsent_s", "1")]).await;
    let image = picture(600, 600, ImageFormat::Png);
    uploaded(&server, "alice", "a.png", &image).await;
    assert_eq!(files_below(&place).len(), 2);
    until("it is deleted", async || files_below(&place).is_empty()).await;
    until("its row is gone", async || {
        let rows: i64 = server
            .directory
            .value("SELECT count(*) FROM chatferry_attachments");
        rows == 0
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_not_sent_is_deleted_by_its_user() {
    let mut flags = BY_SECRET.to_vec();
    flags.push(("attachments.user_mib", "1"));
    let (server, place) = server(&flags).await;
    let as_user = |user: &str| format!("Authorization: {}\r\n", bearer(user));
    let upload = async || {
        let bytes = vec![b'a'; 600_000];
        let request = upload_to("/api/v1/attachments?name=a.txt", &as_user("alice"), &bytes);
        server.send(request).await
    };
    let delete = async |user: &str, file: &Value| {
        let head = format!(
            "DELETE /api/v1/attachments/{} HTTP/1.1\r\nHost: localhost\r\n",
            id_of(file)
        );
        let request = format!("{head}{}\r\n", as_user(user));
        server.send(request.into_bytes()).await
    };
    let file = upload().await.json();
    assert_eq!(upload().await.json()["code"], "quota", "no room for two");
    let refused = delete("bob", &file).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (404, &json!("no_attachment"))
    );
    assert_eq!(files_below(&place).len(), 1);
    assert_eq!(delete("alice", &file).await.status, 204);
    assert_eq!(files_below(&place).len(), 0);
    assert_eq!(delete("alice", &file).await.status, 404, "gone");
    let file = upload().await.json();
    let alice = Caller::known(&server, "alice");
    let id = alice.conversation_of("alice", "bob").await;
    let path = format!("conversations/{id}/messages");
    let token = bearer("alice");
    let headers = [("Authorization", token.as_str())];
    let body = json!({"content": "look", "attachments": [&file["id"]]});
    let sent = ask_with(&server, "POST", &path, &headers, Some(&body)).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(delete("alice", &file).await.status, 404, "sent");
    assert_eq!(files_below(&place).len(), 1);
}

#[tokio::test]
async fn a_file_of_a_group_is_its_members_and_is_kept() {
    let directory = Arc::new(Directory::new());
    let place = directory.path().join("files");
    let [kept_in, often] = settings(place.to_str().unwrap());
    let flags = [kept_in, often, ("attachments.unsent_s", "1")];
    let server = Server::on(Arc::clone(&directory), &flags).await;
    let id = group(&server, &["alice", "bob", "carol"]).await;
    let file = uploaded(&server, "alice", "notes.txt", b"a file of three").await;
    let path = format!("conversations/{id}/messages");
    let body = json!({"sender": "alice", "content": "", "attachments": [file["id"]]});
    let sent = post(&server, &path, body).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let link_of_bob = link(&server, "bob", &file).await;
    let read = fetch(&server, &link_of_bob, "url").await;
    assert_eq!(read.text(), "a file of three");
    drop(server);
    // Nothing is deleted of groups either while there are none for clients.
    for members_max in ["0", "16"] {
        let more = ("native.members_max", members_max);
        let server = Server::on(
            Arc::clone(&directory),
            &[flags.as_slice(), &[more]].concat(),
        )
        .await;
        uploaded(&server, "alice", "unsent.txt", b"not sent").await;
        until("what was not sent is deleted", async || {
            files_below(&place).len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn only_who_is_in_the_conversation_gets_to_a_file() {
    let directory = Arc::new(Directory::new());
    let place = directory.path().join("files");
    let mut flags = settings(place.to_str().unwrap()).to_vec();
    flags.extend(BY_SECRET);
    flags.push(("auth.policy", "participants"));
    let server = Server::on(directory, &flags).await;
    let [alice, bob, carol] =
        ["alice", "bob", "carol"].map(|user| format!("Authorization: {}\r\n", bearer(user)));
    let id = Caller::known(&server, "alice");
    let id = id.conversation_of("alice", "bob").await;
    let upload = async |caller: &str, path: &str| {
        let sent = upload_to(&format!("/api/v1/{path}"), caller, b"text");
        server.send(sent).await
    };
    assert_eq!(upload("", "attachments?name=a").await.status, 401);
    assert_eq!(upload(&carol, "attachments?user=alice").await.status, 403);
    let file = upload(&alice, "attachments?name=a").await.json();
    let asking = async |caller: &str, path: &str| {
        let text = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n{caller}\r\n");
        server.send(text).await
    };
    let links = format!("attachments?ids={}", id_of(&file));
    let count = async |caller: &str| {
        let answer = asking(caller, &links).await.json();
        answer["attachments"].as_array().unwrap().len()
    };
    // Before it is sent it is its uploader's.
    assert_eq!((count(&alice).await, count(&bob).await), (1, 0));
    let send = async |caller: &str| {
        let offer = format!("{OFFER}{caller}");
        let mut client = Client::with(&server, "/ws/chat/", &offer).await;
        client.subscribe(&id, None).await;
        let own = Uuid::now_v7().to_string();
        let frame = json!({
            "type": "send", "id": own, "conversation": id, "content": "",
            "attachments": [file["id"]],
        });
        client.send(frame).await;
        loop {
            let answer = client.next().await;
            if answer["id"] == own {
                return answer;
            }
        }
    };
    let foreign = send(&bob).await;
    assert_eq!(foreign["code"], "no_attachment", "{foreign}");
    assert_eq!(send(&alice).await["type"], "ack");
    assert_eq!((count(&bob).await, count(&carol).await), (1, 0));
    let lasting = format!("attachments/{}/file", id_of(&file));
    let statuses = [asking(&bob, &lasting).await, asking(&carol, &lasting).await];
    assert_eq!(statuses.map(|answer| answer.status), [303, 404]);
    assert_eq!(asking("", &links).await.status, 401);
}

#[tokio::test]
async fn without_a_place_there_are_no_attachments() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut alice = Client::open(&server).await;
    assert_eq!(
        alice.hello["features"],
        json!(["receipts", "presence", "edit", "groups"])
    );
    assert_eq!(alice.hello["limits"]["attachments"], json!(null));
    let refused = server.send(upload_of("alice", "a.txt", b"text")).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (501, &json!("off"))
    );
    alice.subscribe(&id, None).await;
    let file = json!({"id": Uuid::now_v7().to_string()});
    let own = Uuid::now_v7().to_string();
    alice.send(sending(&own, &id, "x", &[&file])).await;
    assert_eq!(alice.next_of("nack").await["code"], "off");
    assert_eq!(
        ask(&server, "GET", "attachments?ids=", None).await.status,
        501
    );
}
