//! Keys of sessions and users that only the database takes for the same: nobody is let in by one.

use serde_json::json;

use super::{database::Database, instance::Flavour};
use crate::{
    auth::django::{BY_SESSION, IN_DATABASE, LOG_IN, is_known},
    gateway::django::Django,
};

/// Sessions whose user is named by a key that is not quite the user's.
const ODD_KEYS: &str = r#"
alice = User.objects.get(username="alice")
def session_of(key):
    session = SessionStore()
    session["_auth_user_id"] = key
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = alice.get_session_auth_hash()
    session.save()
    return session.session_key

cookies = {key: session_of(key) for key in [*KEYS, EXACT]}
print(json.dumps(cookies))
"#;

async fn django(database: &Database) -> Option<Django> {
    let url = [("DATABASE_URL", database.url.as_str())];
    Django::prepared(&[], &url).await
}

pub async fn a_session_key_of_another_spelling_is_no_session(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    let Some(django) = django(&database).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let server = database.server_with(&BY_SESSION).await;
    let key = cookies["alice"].as_str().unwrap();
    let letter = key.find(|c: char| "aceginorsuyz".contains(c)).unwrap();
    let accented = format!("{}\u{301}{}", &key[..=letter], &key[letter + 1..]);
    for other in [key.to_uppercase(), accented] {
        let sql = format!("SELECT count(*) FROM django_session WHERE session_key = '{other}'");
        assert_eq!(
            database.value::<u64>(&sql).await,
            1,
            "the database finds {other}"
        );
        assert!(!is_known(&server, &json!(other)).await, "{other}");
    }
    assert!(is_known(&server, &json!(key)).await);
}

/// Checks whether each of these keys lets somebody in as the user with the exact one.
async fn are_refused(
    database: &Database,
    django: &Django,
    exact: &str,
    keys: &[String],
    settings: &[(&str, &str)],
) {
    let names = format!("KEYS = {keys:?}\nEXACT = {exact:?}\n");
    let program = [LOG_IN, &names, ODD_KEYS].concat();
    let cookies = django.says(&program).await;
    let server = database
        .server_with(&[&BY_SESSION[..], settings].concat())
        .await;
    for key in keys {
        assert!(!is_known(&server, &cookies[key]).await, "{key}");
    }
    assert!(is_known(&server, &cookies[exact]).await);
}

pub async fn a_user_key_of_another_spelling_is_no_user(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    let Some(django) = django(&database).await else {
        return;
    };
    django
        .says(&[LOG_IN, "print(json.dumps({}))"].concat())
        .await;
    let number: u64 = database
        .value("SELECT id FROM auth_user WHERE username = 'alice'")
        .await;
    // A number followed by anything is that number to the database.
    let keys = [
        format!("{number}x"),
        format!("{number} "),
        format!("0{number}"),
    ];
    for key in &keys {
        let sql = format!("SELECT count(*) FROM auth_user WHERE id = '{key}'");
        assert_eq!(
            database.value::<u64>(&sql).await,
            1,
            "the database finds {key}"
        );
    }
    are_refused(&database, &django, &number.to_string(), &keys, &[]).await;

    // And a user model whose key is a text.
    let people = "CREATE TABLE people (name varchar(50) NOT NULL PRIMARY KEY, password varchar(128) \
                  NOT NULL, is_active bool NOT NULL) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n\
                  INSERT INTO people SELECT username, password, is_active FROM auth_user";
    database.run(people).await;
    let keys = ["Alice", "ALICE", "alic\u{e9}", "\u{ff41}lice"].map(str::to_owned);
    for key in &keys {
        let sql = format!("SELECT count(*) FROM people WHERE name = '{key}'");
        assert_eq!(
            database.value::<u64>(&sql).await,
            1,
            "the database finds {key}"
        );
    }
    let settings = [
        ("auth.django_session.users_table", "people"),
        ("auth.django_session.id_column", "name"),
        ("auth.django_session.user_column", "name"),
    ];
    are_refused(&database, &django, "alice", &keys, &settings).await;
}
