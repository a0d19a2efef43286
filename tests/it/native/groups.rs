//! Groups: made, changed and left, and what happens at once.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Client,
    api::{ask, ask_with, get, post},
    contents, message,
};
use crate::support::{Answer, Directory, Server, http::id_of};

/// Makes a group by REST, of the first user and the others.
pub async fn group(server: &Server, users: &[&str]) -> String {
    let (creator, others) = users.split_first().unwrap();
    let path = format!("conversations?user={creator}");
    let made = post(server, &path, json!({"name": "team", "members": others})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    id_of(&made.json())
}

/// Users of a group with their roles.
pub fn roles(group: &Value) -> Vec<(&str, &str)> {
    let members = group["members"].as_array().unwrap().iter();
    members
        .map(|it| (it["user"].as_str().unwrap(), it["role"].as_str().unwrap()))
        .collect()
}

async fn members(server: &Server, id: &str) -> Value {
    get(server, &format!("conversations/{id}/members")).await
}

async fn remove(server: &Server, id: &str, user: &str, member: &str) -> Answer {
    let path = format!("conversations/{id}/members?user={user}&member={member}");
    ask(server, "DELETE", &path, None).await
}

async fn invite(server: &Server, id: &str, user: &str, members: &[&str]) -> Answer {
    let path = format!("conversations/{id}/members?user={user}");
    post(server, &path, json!({"members": members})).await
}

/// A group is made, spoken in, changed and left, by sockets and by REST.
pub async fn a_group_lives(server: &Server) {
    let mut ann = Client::open(server).await;
    assert!(
        ann.hello["features"]
            .as_array()
            .unwrap()
            .contains(&json!("groups")),
        "{}",
        ann.hello
    );
    let create = json!({
        "type": "create", "ref": 1, "user": "ann", "name": "여행", "members": ["ben", "cleo"],
        "key": "trip",
    });
    let made = ann.ask(create.clone()).await["conversation"].clone();
    let id = id_of(&made);
    assert_eq!(made["members"], json!(["ann", "ben", "cleo"]));
    assert_eq!(made["group"]["name"], "여행");
    assert_eq!(
        roles(&made["group"]),
        [("ann", "owner"), ("ben", "member"), ("cleo", "member")]
    );
    // Asked for again under its key, it is the same.
    assert_eq!(id_of(&ann.ask(create).await["conversation"]), id);
    assert_eq!(ann.subscribe(&id, None).await["group"], made["group"]);
    let mut ben = Client::open(server).await;
    ben.send(json!({"type": "subscribe", "conversation": id, "user": "ben"}))
        .await;
    ben.next_of("subscribed").await;
    let own = Uuid::now_v7().to_string();
    let mut said = message(&own, &id, "hello all");
    said["sender"] = json!("ann");
    ann.send(said.clone()).await;
    assert_eq!(ann.next_of("ack").await["id"], own);
    assert_eq!(
        ben.next_of("message").await["message"]["content"],
        "hello all"
    );
    // Sent again it is stored once, and who is no member says nothing.
    ann.send(said.clone()).await;
    ann.next_of("ack").await;
    said["id"] = json!(Uuid::now_v7().to_string());
    said["sender"] = json!("dave");
    ann.send(said).await;
    assert_eq!(ann.next_of("nack").await["code"], "no_conversation");
    let read = json!({"type": "read", "conversation": id, "messages": [own], "user": "ben"});
    ben.send(read).await;
    ben.next_of("ok").await;
    assert_eq!(ann.next_of("read").await["user"], "ben");
    let receipts = json!({"type": "receipts", "conversation": id, "messages": [own]});
    ann.send(receipts).await;
    let receipts = ann.next_of("receipts").await;
    assert_eq!(receipts["receipts"][0]["status"], "read");
    let edit = json!({
        "type": "edit", "conversation": id, "message": own, "content": "hello both", "user": "ann",
    });
    ann.send(edit).await;
    assert_eq!(
        ben.next_of("updated").await["message"]["content"],
        "hello both"
    );
    // Lists have both kinds of conversations, the latest message first.
    let pair = server.conversation_of("ann", "cleo").await;
    server.stored(&pair, "ann", "in private").await;
    let list = get(server, "conversations?user=cleo").await;
    let listed = list["conversations"].as_array().unwrap();
    assert_eq!(
        listed.iter().map(id_of).collect::<Vec<_>>(),
        [pair.clone(), id.clone()]
    );
    assert_eq!(listed[0].get("group"), None);
    assert_eq!(listed[1]["group"]["name"], "여행");
    assert_eq!(
        (&listed[1]["unread"], &listed[0]["unread"]),
        (&json!(1), &json!(1))
    );
    let page = get(server, "conversations?user=cleo&limit=1").await;
    let next = page["next"].as_str().unwrap();
    let page = get(
        server,
        &format!("conversations?user=cleo&limit=1&after={next}"),
    )
    .await;
    assert_eq!(id_of(&page["conversations"][0]), id);
    let inbox = get(server, "inbox?user=cleo").await;
    let texts = inbox["messages"].as_array().unwrap().iter();
    let texts: Vec<_> = texts.map(|it| it["message"]["content"].clone()).collect();
    assert_eq!(texts, ["hello both", "in private"]);
    let found = get(server, "search?user=cleo&q=BOTH").await;
    assert_eq!(found["messages"][0]["conversation"], id);
    let unread = get(
        server,
        &format!("unread?user=cleo&conversations={id},{pair}"),
    )
    .await;
    assert_eq!(
        unread["counts"],
        json!([{"conversation": id, "unread": 1}, {"conversation": pair, "unread": 1}])
    );
    a_group_changes(server, &id, (ann, ben)).await;
}

/// Its name, roles and members are changed, and all who are there see it.
async fn a_group_changes(server: &Server, id: &str, (mut ann, mut ben): (Client, Client)) {
    let mut dora = Client::open(server).await;
    // The user that the first subscription names gets news of her own.
    let own = server.conversation_of("dora", "ben").await;
    dora.send(json!({"type": "subscribe", "conversation": own, "user": "dora"}))
        .await;
    dora.next_of("subscribed").await;
    let invite = json!({
        "type": "invite", "ref": 7, "conversation": id, "members": ["dora"], "user": "ann",
    });
    ann.send(invite).await;
    let shown = ben.next_of("group").await;
    assert_eq!(shown["conversation"], id);
    assert!(shown.get("ref").is_none());
    assert_eq!(shown["group"]["version"], 2);
    assert_eq!(
        roles(&shown["group"]),
        [
            ("ann", "owner"),
            ("ben", "member"),
            ("cleo", "member"),
            ("dora", "member")
        ]
    );
    assert_eq!(
        dora.next_of("membership").await,
        json!({"type": "membership", "conversation": id, "user": "dora", "is_member": true})
    );
    for (change, code) in [
        (
            json!({"type": "rename", "name": "x", "user": "ben"}),
            "not_owner",
        ),
        (
            json!({"type": "rename", "name": "x", "user": "eve"}),
            "no_conversation",
        ),
        (
            json!({"type": "rename", "name": " ", "user": "ann"}),
            "bad_frame",
        ),
        (
            json!({"type": "rename", "name": "x".repeat(101), "user": "ann"}),
            "too_long",
        ),
        (
            json!({"type": "role", "member": "eve", "role": "owner", "user": "ann"}),
            "no_member",
        ),
        (
            json!({"type": "role", "member": "ann", "role": "member", "user": "ann"}),
            "last_owner",
        ),
        (
            json!({"type": "role", "member": "ann", "role": "king", "user": "ann"}),
            "bad_frame",
        ),
        (
            json!({"type": "invite", "members": [], "user": "ann"}),
            "bad_frame",
        ),
    ] {
        let mut frame = change.clone();
        frame["conversation"] = json!(id);
        ann.send(frame).await;
        let refused = ann.next_of("error").await;
        assert_eq!(refused["code"], code, "{change}");
    }
    let patch = async |path: String, body: Value| ask(server, "PATCH", &path, Some(&body)).await;
    let name = json!({"name": "모임"});
    let renamed = patch(format!("conversations/{id}?user=ann"), name).await;
    assert_eq!(renamed.json()["group"]["name"], "모임");
    assert_eq!(ben.next_of("group").await["group"]["name"], "모임");
    let role = json!({"member": "cleo", "role": "owner"});
    let assigned = patch(format!("conversations/{id}/members?user=ann"), role).await;
    assert_eq!(assigned.status, 200);
    assert_eq!(remove(server, id, "cleo", "ben").await.status, 204);
    assert_eq!(remove(server, id, "ann", "ann").await.status, 204);
    let left = members(server, id).await;
    assert_eq!(roles(&left), [("cleo", "owner"), ("dora", "member")]);
    let list = get(server, "conversations?user=ben").await;
    let listed = list["conversations"].as_array().unwrap().iter();
    assert!(!listed.map(id_of).any(|it| it == id));
    // A member who comes back finds the group as it is now.
    let subscribed = ann.subscribe(id, None).await;
    assert_eq!(roles(&subscribed["group"]), roles(&left));
    let pair = server.conversation_of("ann", "ben").await;
    let name = json!({"name": "x"});
    let refused = patch(format!("conversations/{pair}?user=ann"), name).await;
    assert_eq!(refused.json()["code"], "not_a_group");
}

/// Whatever two servers do at once, a group keeps its rules.
pub async fn a_group_keeps_its_rules_at_once(servers: &[Server; 2]) {
    for _ in 0..5 {
        owners_leave_at_once(servers).await;
        a_group_is_filled_at_once(servers).await;
        a_member_speaks_and_is_removed_at_once(servers).await;
    }
}

async fn owners_leave_at_once([one, other]: &[Server; 2]) {
    let id = group(one, &["ann", "ben", "cleo"]).await;
    let path = format!("conversations/{id}/members?user=ann");
    let second = json!({"member": "ben", "role": "owner"});
    assert_eq!(ask(one, "PATCH", &path, Some(&second)).await.status, 200);
    let left = join(
        remove(one, &id, "ann", "ann"),
        remove(other, &id, "ben", "ben"),
    );
    let (ann, ben) = left.await;
    assert_eq!((ann.status, ben.status), (204, 204));
    assert_eq!(roles(&members(one, &id).await), [("cleo", "owner")]);
}

async fn a_group_is_filled_at_once(servers: &[Server; 2]) {
    let id = group(&servers[0], &["ann", "ben"]).await;
    let users: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    let invited = join_all(users.iter().enumerate().map(async |(number, user)| {
        let server = &servers[number % 2];
        invite(server, &id, "ann", &[user]).await
    }));
    let invited = invited.await;
    let (done, full): (Vec<&Answer>, Vec<&Answer>) =
        invited.iter().partition(|it| it.status == 200);
    assert_eq!((done.len(), full.len()), (14, 6));
    for refused in full {
        assert_eq!(refused.status, 409);
        assert_eq!(refused.json()["code"], "too_many_members");
    }
    let all = members(&servers[1], &id).await;
    assert_eq!(roles(&all).len(), 16);
    let listed = get(&servers[1], &format!("conversations/{id}")).await;
    assert_eq!(listed["members"].as_array().unwrap().len(), 16);
}

/// A message is stored before the removal or refused: what was acknowledged is there, and nothing
/// comes after.
async fn a_member_speaks_and_is_removed_at_once([one, other]: &[Server; 2]) {
    let id = group(one, &["ann", "ben", "cleo"]).await;
    let path = format!("conversations/{id}/messages");
    let say = async |server: &Server, number: usize| {
        let said = json!({"sender": "ben", "content": number.to_string()});
        post(server, &path, said).await.status
    };
    let talk = join_all((0..12).map(async |number| {
        if number == 6 {
            assert_eq!(remove(other, &id, "ann", "ben").await.status, 204);
            // From here on it is refused, on every server.
            assert_eq!((say(one, 100).await, say(other, 101).await), (404, 404));
            return None;
        }
        Some((number, say(one, number).await))
    }));
    let mut acknowledged = BTreeSet::new();
    for (number, status) in talk.await.into_iter().flatten() {
        assert!(status == 201 || status == 404, "{status}");
        if status == 201 {
            acknowledged.insert(number.to_string());
        }
    }
    let page = get(one, &path).await;
    let stored = contents(&page).into_iter().map(ToOwned::to_owned);
    assert_eq!(stored.collect::<BTreeSet<_>>(), acknowledged);
}

#[tokio::test]
async fn a_group_lives_in_a_file() {
    let directory = Arc::new(Directory::new());
    let one = Server::on(Arc::clone(&directory), &[]).await;
    a_group_lives(&one).await;
    let servers = [one, Server::on(directory, &[]).await];
    a_group_keeps_its_rules_at_once(&servers).await;
}

#[tokio::test]
async fn without_tables_for_groups_there_are_none_and_the_rest_goes_on() {
    let directory = Arc::new(Directory::new());
    drop(Server::on(Arc::clone(&directory), &[]).await);
    let drop_table = "DROP TABLE chatferry_receipts";
    directory.open().execute_batch(drop_table).unwrap();
    let server = Server::on(directory, &[]).await;
    let mut client = Client::open(&server).await;
    let features = json!(["receipts", "presence", "edit"]);
    assert_eq!(client.hello["features"], features);
    let create = json!({"type": "create", "name": "team", "members": ["ben"], "user": "ann"});
    assert_eq!(client.ask(create).await["code"], "off");
    let id = server.conversation().await;
    // Its id is one of a group.
    let nobodys = "96bfd05d-bb36-5564-bfc0-7539e8f431da";
    let ask = json!({"type": "subscribe", "conversation": nobodys});
    assert_eq!(client.ask(ask).await["code"], "no_conversation");
    client.subscribe(&id, None).await;
}

#[tokio::test]
async fn a_server_without_groups_says_so() {
    let server = Server::with(&[("native.members_max", "0")]).await;
    let client = Client::open(&server).await;
    assert_eq!(
        client.hello["features"],
        json!(["receipts", "presence", "edit"])
    );
    let new = json!({"name": "team", "members": ["ben"]});
    let refused = post(&server, "conversations?user=ann", new).await;
    assert_eq!(refused.status, 501);
    assert_eq!(refused.json()["code"], "off");
    let id = server.conversation_of("ann", "ben").await;
    let list = get(&server, "conversations?user=ann").await;
    assert_eq!(id_of(&list["conversations"][0]), id);
}

#[tokio::test]
async fn a_group_begins_with_two_members_and_ends_at_its_limit() {
    let server = Server::with(&[("native.members_max", "3")]).await;
    let make = async |members: &[&str]| {
        let new = json!({"name": "team", "members": members});
        post(&server, "conversations?user=ann", new).await
    };
    for (members, status, code) in [
        (&["ann"][..], 409, "too_few_members"),
        (&["a", "b", "c"], 409, "too_many_members"),
        (&[""], 400, "bad_request"),
        (&[], 400, "bad_request"),
    ] {
        let refused = make(members).await;
        assert_eq!(refused.status, status, "{members:?}: {}", refused.text());
        assert_eq!(refused.json()["code"], code);
    }
    assert_eq!(make(&["ben", "ben", "ann"]).await.status, 201);
    let key = [("idempotency-key", "\"trip\"")];
    let new = json!({"name": "team", "members": ["ben"]});
    let send = async || {
        let path = "conversations?user=ann";
        ask_with(&server, "POST", path, &key, Some(&new)).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(id_of(&first.json()), id_of(&again.json()));
}
