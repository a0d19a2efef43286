//! Tokens of REST framework's `authtoken` that a real Django made, in every kind of database.

use serde_json::{Value, json};

use crate::{
    gateway::django::Django,
    mysql::{database::Database as Mysql, instance::Flavour},
    postgres::database::Database as Postgres,
    support::{Answer, Server, Socket, database::Place, request, socket::path_of},
};

/// Tokens of REST framework by the names of those they are of; its app is not the reference's own.
const TOKENS: &str = r#"
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.authtoken.models import Token
if Token._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(Token)
def token_of(name, **columns):
    user, _ = User.objects.get_or_create(username=name, defaults=columns)
    return Token.objects.create(user=user).key
tokens = {name: token_of(name) for name in ("alice", "bob")}
tokens["inactive"] = token_of("inactive", is_active=False)
print(json.dumps(tokens))
"#;

const BY_TOKEN: [(&str, &str); 5] = [
    ("auth.identity", "django_token"),
    ("auth.policy", "participants"),
    ("auth.django_session.user_column", "username"),
    ("auth.django_session.cache_s", "0"),
    ("auth.recheck_s", "1"),
];

/// The reference with REST framework's tokens, on this database.
async fn with_tokens(env: &[(&str, &str)]) -> Option<(Django, Value)> {
    let apps = "\"rest_framework\", \"rest_framework.authtoken\"";
    let change = [("service/settings.py", "\"rest_framework\"", apps)];
    let django = Django::prepared(&change, env).await?;
    let tokens = django.says(TOKENS).await;
    Some((django, tokens))
}

async fn asked_with(server: &Server, authorization: &str) -> Answer {
    let headers = [("Authorization", authorization)];
    let path = "/api/chat/users/alice/conversations/";
    server.send(request("GET", path, &headers, None)).await
}

async fn tokens_are_known(server: &Server, (django, tokens): (Django, Value)) {
    let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let alice = format!("Token {}", token("alice"));
    assert_eq!(asked_with(server, &alice).await.status, 200);
    let bob = format!("Token {}", token("bob"));
    assert_eq!(asked_with(server, &bob).await.status, 200);
    for unknown in [
        alice.to_uppercase().replace("TOKEN", "Token"),
        alice.replace("Token", "Bearer"),
        format!("Token {} ", &token("alice")[1..]),
        format!("Token {}", token("inactive")),
        "Token \u{e9}".to_owned(),
    ] {
        let refused = asked_with(server, &unknown).await;
        assert_eq!(refused.status, 401, "{unknown}");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Token realm=\"api\""), "{challenge}");
    }
    let with_bob = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let headers = [("Authorization", alice.as_str())];
    let path = "/api/chat/conversations/";
    let made = server
        .send(request("POST", path, &headers, Some(&with_bob)))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let header = format!("Sec-WebSocket-Protocol: access_token, {}\r\n", token("bob"));
    let socket = Socket::try_open(server.connect().await, &path_of(&id), &header).await;
    let mut socket = socket.ok().unwrap();
    socket.history().await;
    // It ends with the token.
    let delete = "from rest_framework.authtoken.models import Token\n\
                  Token.objects.filter(user__username='bob').delete()\nprint('null')";
    django.says(delete).await;
    assert_eq!(socket.close_code().await, 4401);
    assert_eq!(asked_with(server, &bob).await.status, 401);
}

#[tokio::test]
async fn tokens_in_sqlite_are_known() {
    if let Some((django, tokens)) = with_tokens(&[]).await {
        let server = Server::on(django.directory.clone(), &BY_TOKEN).await;
        tokens_are_known(&server, (django, tokens)).await;
    }
}

#[tokio::test]
async fn tokens_in_mariadb_are_known() {
    if let Some(database) = Mysql::empty(Flavour::MariaDb).await {
        are_known_in(&database).await;
    }
}

#[tokio::test]
async fn tokens_in_postgres_are_known() {
    if let Some(database) = Postgres::empty().await {
        are_known_in(&database).await;
    }
}

async fn are_known_in(database: &Place) {
    if let Some(made) = with_tokens(&[("DATABASE_URL", database.url.as_str())]).await {
        let server = database.server_with(&BY_TOKEN).await;
        tokens_are_known(&server, made).await;
    }
}
