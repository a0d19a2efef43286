//! Sessions that a real Django made, in every place where it keeps them.

use crate::support::server::schema_of;
use serde_json::{Value, json};

use crate::{
    gateway::django::Django,
    mysql::{database::Database as Mysql, instance::Flavour},
    postgres::database::Database as Postgres,
    support::{Answer, Server, Socket, database::Place, request, socket::path_of},
};

/// The reference's own.
const SECRET_KEY: &str = "the-reference-service-keeps-no-secrets-0123456789";

pub const BY_SESSION: [(&str, &str); 5] = [
    ("auth.identity", "django_session"),
    ("auth.policy", "participants"),
    ("auth.django_session.user_column", "username"),
    ("auth.django_session.cache_s", "0"),
    ("django.secret_key", SECRET_KEY),
];

/// Any that Django could have made.
const CSRF: &str = "aZ9baZ9baZ9baZ9baZ9baZ9baZ9baZ9b";

/// Sessions by the names of those who are logged in, and some of nobody.
pub const LOG_IN: &str = r#"
import time
from unittest import mock
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

def logged_in(name, **session):
    user, _ = User.objects.get_or_create(username=name, defaults={"password": "md5$salt$" + name})
    client = Client()
    client.force_login(user)
    if session:
        stored = client.session
        stored.update(session)
        stored.save()
        client.cookies["sessionid"] = stored.session_key
    return client.cookies["sessionid"].value

cookies = {name: logged_in(name) for name in ("alice", "bob", "inactive", "changed")}
cookies["large"] = logged_in("alice", filler="x" * 3000)
with mock.patch("time.time", return_value=time.time() - 1300000):
    cookies["old"] = logged_in("alice")
User.objects.filter(username="inactive").update(is_active=False)
User.objects.filter(username="changed").update(password="md5$salt$another")
"#;

/// More, where sessions are in the database.
pub const IN_DATABASE: &str = r#"
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone

def stored(**data):
    session = SessionStore()
    session.update(data)
    session.save()
    return session.session_key

Session.objects.filter(session_key=cookies["old"]).update(expire_date=timezone.now() - timedelta(seconds=1))
cookies["nobody"] = stored(basket=[1, 2])
cookies["forged"] = logged_in("alice")
forged = Session.objects.get(session_key=cookies["forged"])
forged.session_data = "x" + forged.session_data
forged.save()
print(json.dumps(cookies))
"#;

async fn ask(
    server: &Server,
    cookie: &Value,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let cookie = format!("sessionid={}; csrftoken={CSRF}", cookie.as_str().unwrap());
    let headers = [("Cookie", cookie.as_str()), ("X-CSRFToken", CSRF)];
    let path = format!("/api/chat/{path}");
    server.send(request(method, &path, &headers, body)).await
}

/// Returns whether the cookie's bearer may list, which everybody may who is known.
pub async fn is_known(server: &Server, cookie: &Value) -> bool {
    let answer = ask(server, cookie, "GET", "users/alice/conversations/", None).await;
    assert!(matches!(answer.status, 200 | 403), "{answer:?}");
    answer.status == 200
}

/// Alice and bob are known as themselves, and none of the others is known.
async fn are_told_apart(server: &Server, cookies: &Value) {
    let with_bob = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let made = ask(
        server,
        &cookies["alice"],
        "POST",
        "conversations/",
        Some(&with_bob),
    )
    .await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let found = ask(
        server,
        &cookies["large"],
        "POST",
        "conversations/",
        Some(&with_bob),
    )
    .await;
    assert_eq!(found.status, 200);
    let path = format!("conversations/{id}/messages/send/");
    for (who, sender, status) in [("bob", "bob", 201), ("bob", "alice", 403)] {
        let body = json!({"sender_id": sender, "content": "x"});
        let sent = ask(server, &cookies[who], "POST", &path, Some(&body)).await;
        assert_eq!(sent.status, status);
    }
    for (name, cookie) in cookies.as_object().unwrap() {
        let known = matches!(name.as_str(), "alice" | "bob" | "large");
        assert_eq!(is_known(server, cookie).await, known, "{name}");
    }
    for made_up in [
        "",
        "short",
        "doesnotexist0000000000000000000",
        "a:b:c",
        "\u{b7}",
    ] {
        assert!(!is_known(server, &json!(made_up)).await, "{made_up}");
    }
    let open = async |cookie: &Value| {
        let header = format!("Cookie: sessionid={}\r\n", cookie.as_str().unwrap());
        Socket::try_open(server.connect().await, &path_of(&id), &header).await
    };
    let mut socket = open(&cookies["alice"]).await.ok().unwrap();
    assert_eq!(socket.history().await.len(), 1);
    socket.works().await;
    assert_eq!(open(&cookies["changed"]).await.err().unwrap().status, 403);
}

#[tokio::test]
async fn sessions_in_sqlite_are_known() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let server = Server::on(django.directory.clone(), &BY_SESSION).await;
    are_told_apart(&server, &cookies).await;
}

#[tokio::test]
async fn sessions_in_mariadb_are_known() {
    if let Some(database) = Mysql::empty(Flavour::MariaDb).await {
        are_known_in(&database).await;
    }
}

#[tokio::test]
async fn sessions_in_postgres_are_known() {
    if let Some(database) = Postgres::empty().await {
        are_known_in(&database).await;
    }
}

async fn are_known_in(database: &Place) {
    let url = [("DATABASE_URL", database.url.as_str())];
    let Some(django) = Django::prepared(&[], &url).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let server = database.server_with(&BY_SESSION).await;
    are_told_apart(&server, &cookies).await;
}

#[tokio::test]
async fn sessions_in_signed_cookies_are_known_and_only_where_they_are_expected() {
    let engine =
        "DEBUG = False\nSESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'";
    let change = [("service/settings.py", "DEBUG = False", engine)];
    let Some(django) = Django::prepared(&change, &[]).await else {
        return;
    };
    let program = [LOG_IN, "print(json.dumps(cookies))"].concat();
    let cookies = django.says(&program).await;
    let signed = ("auth.django_session.engine", "signed_cookies");
    let server = Server::on(
        django.directory.clone(),
        &[&BY_SESSION[..], &[signed]].concat(),
    )
    .await;
    are_told_apart(&server, &cookies).await;
    let answer = ask(
        &server,
        &cookies["alice"],
        "GET",
        "users/alice/conversations/",
        None,
    )
    .await;
    assert_eq!(answer.header("set-cookie"), None, "the session stays");
    let answer = ask(
        &server,
        &cookies["old"],
        "GET",
        "users/alice/conversations/",
        None,
    )
    .await;
    assert!(
        answer
            .header("set-cookie")
            .unwrap()
            .starts_with("sessionid=\"\"")
    );
    let server = Server::on(django.directory.clone(), &BY_SESSION).await;
    assert!(
        !is_known(&server, &cookies["alice"]).await,
        "it cannot be taken back"
    );
}

#[tokio::test]
async fn cookies_that_are_made_up_cost_few_lookups_and_push_out_no_session() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let small = [
        ("auth.django_session.cache_s", "3600"),
        ("auth.django_session.cache_size", "8"),
        ("limits.address.denied", "20/day"),
    ];
    let settings = [&BY_SESSION[..], &small].concat();
    let server = Server::on(django.directory.clone(), &settings).await;
    let list = "users/alice/conversations/";
    for name in ["alice", "bob"] {
        assert!(is_known(&server, &cookies[name]).await);
    }
    let reads = "chatferry_store_read_seconds_count";
    let before = server.metric(reads).await;
    let mut refused = Vec::new();
    for number in 0..100 {
        let made_up = json!(format!("{number:032}"));
        refused.push(ask(&server, &made_up, "GET", list, None).await.status);
    }
    let after = server.metric(reads).await;
    assert!(after - before <= 21.0, "{} lookups", after - before);
    assert_eq!(refused.iter().filter(|status| **status == 403).count(), 20);
    assert_eq!(refused.iter().filter(|status| **status == 429).count(), 80);
    let before = server.metric(reads).await;
    let answer = ask(&server, &cookies["alice"], "GET", list, None).await;
    assert_eq!(answer.status, 200, "still remembered");
    // The list itself, and not the session and the user.
    assert!(server.metric(reads).await - before <= 1.0);
}

#[tokio::test]
async fn an_older_secret_key_is_good_as_long_as_it_is_a_fallback() {
    let older = [("SECRET_KEY", "an-older-key-of-the-reference-0123456789-abc")];
    let Some(django) = Django::prepared(&[], &older).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let fallbacks = (
        "django.secret_key_fallbacks",
        "unused,an-older-key-of-the-reference-0123456789-abc",
    );
    let server = Server::on(
        django.directory.clone(),
        &[&BY_SESSION[..], &[fallbacks]].concat(),
    )
    .await;
    are_told_apart(&server, &cookies).await;
    let server = Server::on(django.directory.clone(), &BY_SESSION).await;
    assert!(!is_known(&server, &cookies["alice"]).await);
}

#[tokio::test]
async fn users_may_be_in_a_table_of_their_own_with_a_uuid_for_a_key() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let program = r#"
import uuid
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
key = uuid.uuid4()
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE people (uid char(32) PRIMARY KEY, secret varchar(128), name text)")
    cursor.execute("INSERT INTO people VALUES (%s, 'md5$x', 'alice')", [key.hex])
session = SessionStore()
session["_auth_user_id"] = str(key)
session["_auth_user_backend"] = "people.backends.Backend"
session["_auth_user_hash"] = User(password="md5$x").get_session_auth_hash()
session.save()
print(json.dumps([session.session_key, str(key)]))
"#;
    let answer = django.says(program).await;
    let table = [
        ("auth.django_session.users_table", "people"),
        ("auth.django_session.id_column", "uid"),
        ("auth.django_session.password_column", "secret"),
        ("auth.django_session.active_column", ""),
    ];
    for (column, id) in [("name", "alice"), ("uid", answer[1].as_str().unwrap())] {
        let column = ("auth.django_session.user_column", column);
        let settings = [&BY_SESSION[..], &table, &[column]].concat();
        let server = Server::on(django.directory.clone(), &settings).await;
        let body = json!({"participant1_id": id, "participant2_id": "bob"});
        let made = ask(&server, &answer[0], "POST", "conversations/", Some(&body)).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let missing = ("auth.django_session.users_table", "nowhere");
    let server = Server::on(
        django.directory.clone(),
        &[&BY_SESSION[..], &[missing]].concat(),
    )
    .await;
    let refused = ask(&server, &answer[0], "GET", "users/a/conversations/", None).await;
    assert_eq!(refused.status, 503);
    let finding = chatferry::auth::check(
        &server.app.config,
        &schema_of(&server.app.config),
        chatferry::dialect::django::identity::open,
    )
    .await
    .err()
    .unwrap()
    .to_string();
    assert!(finding.contains("nowhere"), "{finding}");
}

#[tokio::test]
async fn a_session_is_remembered_for_a_while_and_no_longer() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let with = async |cache: &str| {
        let settings = [&BY_SESSION[..], &[("auth.django_session.cache_s", cache)]].concat();
        Server::on(django.directory.clone(), &settings).await
    };
    let (long, short) = (with("3600").await, with("1").await);
    let alice = &cookies["alice"];
    assert!(is_known(&long, alice).await && is_known(&short, alice).await);
    let changed = "UPDATE auth_user SET password = 'md5$salt$new' WHERE username = 'alice'";
    django.directory.open().execute_batch(changed).unwrap();
    assert!(is_known(&long, alice).await);
    crate::support::until("the end of the session", async || {
        !is_known(&short, alice).await
    })
    .await;
}

#[tokio::test]
async fn a_socket_is_closed_when_its_session_ends_early() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let recheck = [
        ("auth.recheck_s", "1"),
        ("auth.django_session.cache_s", "3600"),
    ];
    let settings = [&BY_SESSION[..], &recheck].concat();
    let server = Server::on(django.directory.clone(), &settings).await;
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let made = ask(
        &server,
        &cookies["alice"],
        "POST",
        "conversations/",
        Some(&body),
    )
    .await;
    let path = path_of(made.json()["id"].as_str().unwrap());
    let open = async |cookie: &Value| {
        let header = format!("Cookie: sessionid={}\r\n", cookie.as_str().unwrap());
        Socket::try_open(server.connect().await, &path, &header).await
    };
    let opened = [&cookies["alice"], &cookies["large"], &cookies["bob"]].map(open);
    let mut sockets = Vec::new();
    for socket in opened {
        let mut socket = socket.await.ok().unwrap();
        socket.history().await;
        sockets.push(socket);
    }
    // A logout, then a new password.
    let logout = format!(
        "DELETE FROM django_session WHERE session_key = {}",
        cookies["alice"]
    );
    let logout = logout.replace('"', "'");
    django.directory.open().execute_batch(&logout).unwrap();
    assert_eq!(sockets[0].close_code().await, 4401);
    assert_eq!(
        open(&cookies["alice"]).await.err().unwrap().status,
        403,
        "not remembered"
    );
    sockets[1].works().await;
    assert_eq!(sockets[2].heard().await, "still here");
    let changed = "UPDATE auth_user SET password = 'md5$salt$new' WHERE username = 'alice'";
    django.directory.open().execute_batch(changed).unwrap();
    assert_eq!(sockets[1].close_code().await, 4401);
    let typing = json!({"type": "typing", "user_id": "bob"});
    sockets[2].send(&typing).await;
    assert_eq!(sockets[2].json().await["type"], "typing_status");
}

/// A status, cookies, and more headers.
type Case<'a> = (u16, &'a str, Vec<(&'a str, &'a str)>);

#[tokio::test]
async fn what_changes_something_needs_the_token_that_django_asks_for() {
    let Some(django) = Django::start().await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let theirs = django.gateway(&[("gateway.rollout_percent", "0")]).await;
    let ours = Server::on(django.directory.clone(), &BY_SESSION).await;
    let session = format!("sessionid={}", cookies["alice"].as_str().unwrap());
    let with = |cookie: &str| format!("{session}; csrftoken={cookie}");
    let (good, other) = (with(CSRF), "b".repeat(32));
    let masked = "aYrvgVcZLkpQIpdNJcj5Lnse31nAFxZ6aNqwgKb0L9oRIecOJ1i6Lcrf3QmBFmY7";
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let cases: [Case; 12] = [
        (200, &good, vec![("X-CSRFToken", CSRF)]),
        (
            200,
            &good,
            vec![("X-CSRFToken", masked), ("Origin", "http://localhost")],
        ),
        (403, &session, vec![]),
        (403, &session, vec![("X-CSRFToken", CSRF)]),
        (403, &good, vec![]),
        (403, &good, vec![("X-CSRFToken", &other)]),
        (403, &good, vec![("X-CSRFToken", "short")]),
        (
            403,
            &good,
            vec![("X-CSRFToken", CSRF), ("Origin", "https://evil.example")],
        ),
        (
            403,
            &good,
            vec![("X-CSRFToken", CSRF), ("Origin", "https://localhost")],
        ),
        (403, &good, vec![("X-CSRFToken", CSRF), ("Origin", "null")]),
        (406, &session, vec![("Accept", "image/png")]),
        (
            200,
            &good,
            vec![("X-CSRFToken", CSRF), ("Sec-Fetch-Site", "cross-site")],
        ),
    ];
    for (status, cookie, mut headers) in cases {
        headers.push(("Cookie", cookie));
        let bytes = request("POST", "/api/chat/conversations/", &headers, Some(&body));
        let (django, here) = (theirs.send(&bytes).await, ours.send(&bytes).await);
        if status >= 400 {
            assert_eq!(here.status, status, "{headers:?}");
            assert_eq!(
                (here.status, here.text()),
                (django.status, django.text()),
                "{headers:?}"
            );
            for name in ["vary", "set-cookie", "www-authenticate", "content-type"] {
                assert_eq!(here.header(name), django.header(name), "{name} {headers:?}");
            }
        } else {
            assert!(
                matches!((here.status, django.status), (200 | 201, 200 | 201)),
                "{headers:?}"
            );
        }
    }
    let form = format!(
        "POST /api/chat/conversations/ HTTP/1.1\r\nHost: localhost\r\nCookie: {good}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
    );
    for (token, status) in [(masked, 200), ("x", 403)] {
        let body = format!("participant1_id=alice&participant2_id=bob&csrfmiddlewaretoken={token}");
        let bytes = format!("{form}{}\r\n\r\n{body}", body.len());
        let (django, here) = (theirs.send(&bytes).await, ours.send(&bytes).await);
        assert_eq!((here.status, django.status), (status, status), "{token}");
        assert_eq!(here.text(), django.text());
    }
    let unsafe_page =
        "Cookie: SESSION\r\nOrigin: https://evil.example\r\n".replace("SESSION", &session);
    let id = ask(
        &ours,
        &cookies["alice"],
        "POST",
        "conversations/",
        Some(&body),
    )
    .await
    .json()["id"]
        .clone();
    let path = path_of(id.as_str().unwrap());
    let refused = Socket::try_open(ours.connect().await, &path, &unsafe_page).await;
    assert_eq!(
        refused.err().unwrap().status,
        403,
        "no token is asked for there"
    );
}
