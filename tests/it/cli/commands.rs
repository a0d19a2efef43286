//! The commands as an operator runs them: output, exit codes, and what they leave behind.

use serde_json::json;

use crate::support::{
    Directory, Process,
    process::{chatferry, finish, run},
    request,
};

#[tokio::test]
async fn migrate_makes_the_tables_once_and_then_finds_nothing_to_do() {
    let directory = Directory::new();
    let first = run(&directory, &["migrate"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.starts_with("Ran "), "{first:?}");
    let again = run(&directory, &["migrate"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (0, "Nothing to do.\n"));
    let noted = "SELECT group_concat(app || '.' || name) FROM django_migrations";
    assert_eq!(directory.value::<String>(noted), "chat.0001_initial");
    let tables = "SELECT count(*) FROM sqlite_master WHERE name IN \
                  ('conversations', 'messages', 'delivery_receipts')";
    assert_eq!(directory.value::<i64>(tables), 3);
    let checked = run(&directory, &["check"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[tokio::test]
async fn two_migrations_at_once_make_the_tables_once() {
    let directory = Directory::new();
    let (one, two) = tokio::join!(run(&directory, &["migrate"]), run(&directory, &["migrate"]));
    assert_eq!((one.code, two.code), (0, 0), "{one:?} {two:?}");
    let noted: i64 = directory.value("SELECT count(*) FROM django_migrations");
    assert_eq!(noted, 1);
    assert_eq!(run(&directory, &["check"]).await.code, 0);
}

#[tokio::test]
async fn servers_that_start_at_once_where_nothing_is_yet_all_serve_the_same_chat() {
    for _ in 0..3 {
        let directory = Directory::new();
        // Else only one of them may have the file.
        let settings = ["server.reuse_port=true"];
        let starting = (0..5).map(|_| Process::start(&directory, &settings));
        let servers = futures_util::future::join_all(starting).await;
        let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
        let create = request("POST", "/api/chat/conversations/", &[], Some(&body));
        let mut statuses = Vec::new();
        for server in &servers {
            statuses.push(server.connect().await.ask(&create).await.status);
        }
        assert_eq!(statuses, [201, 200, 200, 200, 200]);
    }
}

#[tokio::test]
async fn a_file_without_any_table_is_as_good_as_none() {
    let directory = Directory::new();
    std::fs::write(directory.database(), "").unwrap();
    let checked = run(&directory, &["check"]).await;
    assert_eq!(checked.code, 0, "serve makes the tables: {checked:?}");
    let server = Process::start(&directory, &[]).await;
    let readyz = request("GET", "/readyz", &[], None);
    assert_eq!(server.connect().await.ask(readyz).await.status, 200);
}

#[tokio::test]
async fn an_index_for_searches_is_refused_where_there_can_be_none() {
    let directory = Directory::new();
    let refused = run(&directory, &["migrate", "--search"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("only PostgreSQL has an index")
            && refused.stderr.contains("leave --search out"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_dry_run_prints_the_sql_and_changes_nothing() {
    let directory = Directory::new();
    let dry = run(&directory, &["migrate", "--dry-run"]).await;
    assert_eq!(dry.code, 0);
    assert!(
        dry.stdout.contains("CREATE TABLE \"conversations\""),
        "{dry:?}"
    );
    assert!(!directory.database().exists());
    directory.open().execute_batch(&dry.stdout).unwrap();
    let nothing = run(&directory, &["migrate", "--dry-run"]).await;
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (0, ""),
        "what it printed is what it does"
    );
}

#[tokio::test]
async fn migrate_completes_what_is_missing_and_leaves_the_rest_alone() {
    let directory = Directory::new();
    run(&directory, &["migrate"]).await;
    directory.open().execute_batch("DROP TABLE delivery_receipts; INSERT INTO conversations VALUES ('0', 'a', 'b', '', '', 1)").unwrap();
    let refused = run(&directory, &["check"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("table delivery_receipts is missing"),
        "{refused:?}"
    );
    assert_eq!(run(&directory, &["migrate"]).await.code, 0);
    assert_eq!(run(&directory, &["check"]).await.code, 0);
    assert_eq!(
        directory.value::<i64>("SELECT count(*) FROM conversations"),
        1
    );
}

#[tokio::test]
async fn check_of_a_place_where_nothing_is_yet_is_fine_and_makes_nothing() {
    let directory = Directory::new();
    let checked = run(&directory, &["check"]).await;
    assert_eq!(checked.code, 0, "serve makes the file: {checked:?}");
    assert!(!directory.database().exists());
    let server = Process::start(&directory, &[]).await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await.0, 0);
}

#[tokio::test]
async fn a_missing_column_is_named_by_check_and_at_start() {
    let directory = Directory::new();
    run(&directory, &["migrate"]).await;
    let db = directory.open();
    db.execute_batch("ALTER TABLE messages RENAME COLUMN message_type TO kind")
        .unwrap();
    for command in ["check", "serve"] {
        let refused = run(&directory, &[command]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        let text = "column messages.message_type is missing";
        assert!(refused.stderr.contains(text), "{refused:?}");
    }
}

#[tokio::test]
async fn a_column_of_a_newer_app_is_fine_if_it_can_be_left_out() {
    let directory = Directory::new();
    run(&directory, &["migrate"]).await;
    let db = directory.open();
    db.execute_batch("ALTER TABLE messages ADD COLUMN edited_at datetime NULL")
        .unwrap();
    assert_eq!(run(&directory, &["check"]).await.code, 0);
    db.execute_batch("DROP TABLE delivery_receipts; CREATE TABLE delivery_receipts (id char(32) PRIMARY KEY, user_id varchar(255) NOT NULL, status varchar(10) NOT NULL, timestamp datetime NOT NULL, message_id char(32) NOT NULL, device varchar(9) NOT NULL)").unwrap();
    let refused = run(&directory, &["check"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("column delivery_receipts.device must be given a value"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_unknown_name_is_an_error_of_check_and_refuses_the_start() {
    let directory = Directory::new();
    let typo = directory.path().join("typo.toml");
    std::fs::write(&typo, "[ws]\nhistroy_limit = 5\n").unwrap();
    let typo = typo.to_str().unwrap();
    let checked = run(&directory, &["check", "--config", typo]).await;
    assert_eq!(checked.code, 1);
    assert!(
        checked.stderr.contains("did you mean ws.history_limit?"),
        "{checked:?}"
    );

    let mut command = chatferry(&directory, &["check"]);
    command.env("CHATFERRY__SERVER__BND", "x");
    let checked = finish(command).await;
    assert_eq!(checked.code, 1);
    assert!(
        checked.stderr.contains("CHATFERRY__SERVER__BIND?"),
        "{checked:?}"
    );

    std::fs::rename(typo, directory.path().join("chatferry.toml")).unwrap();
    let refused = run(&directory, &["serve"]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("did you mean ws.history_limit?"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn settings_nothing_can_run_with_are_exit_code_2_and_say_why() {
    let directory = Directory::new();
    for (arguments, text) in [
        (
            &["serve", "--set", "server.bind=nowhere"][..],
            "server.bind",
        ),
        (
            &["serve", "--set", "server.bind=0.0.0.0:0"],
            "auth.allow_anonymous",
        ),
        (&["check", "--set", "ws.queue_bytes=1"], "ws.queue_bytes"),
        (&["serve", "--config", "missing.toml"], "missing.toml"),
        (&["sevre"], "sevre"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let refused = run(&directory, arguments).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(text), "{refused:?}");
        assert_eq!(refused.stdout, "");
    }
    assert!(!directory.database().exists());
}

#[tokio::test]
async fn an_unreachable_database_is_told_at_start() {
    let directory = Directory::new();
    std::fs::write(
        directory.database(),
        "this is no database, and longer than its header",
    )
    .unwrap();
    let url = format!(
        "store.url=sqlite://{}/no/such/directory/chat.sqlite3",
        directory.path().display()
    );
    for arguments in [
        &["serve"][..],
        &["check"],
        &["serve", "--set", &url],
        &["check", "--set", &url],
    ] {
        let refused = run(&directory, arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("chat.sqlite3"), "{refused:?}");
    }
}

#[tokio::test]
async fn config_shows_where_each_setting_comes_from() {
    let directory = Directory::new();
    std::fs::write(
        directory.path().join("chatferry.toml"),
        "[ws]\nhistory_limit = 5\n",
    )
    .unwrap();
    let mut command = chatferry(&directory, &["config", "--set", "store.pool_size=3"]);
    command
        .env("CHATFERRY__STORE__URL", "mysql://chat:s3cret@h/db")
        .env("SECRET_KEY", "hush");
    let shown = finish(command).await;
    assert_eq!(shown.code, 0);
    assert!(!shown.stdout.contains("s3cret") && !shown.stdout.contains("hush"));
    for (line, origin) in [
        ("history_limit = 5", "chatferry.toml"),
        ("pool_size = 3", "flag --set"),
        ("url = ", "environment CHATFERRY__STORE__URL"),
        ("queue_messages = 1024", "default"),
    ] {
        let found = shown.stdout.lines().find(|shown| shown.starts_with(line));
        assert!(
            found.is_some_and(|found| found.contains(origin)),
            "{line}: {found:?}"
        );
    }
    let example = run(&directory, &["config", "--example"]).await;
    std::fs::write(directory.path().join("chatferry.toml"), example.stdout).unwrap();
    let fresh = run(&directory, &["check"]).await;
    assert_eq!(fresh.code, 0, "the example is a file that works: {fresh:?}");
}

#[tokio::test]
async fn a_secret_is_told_nowhere() {
    let directory = Directory::new();
    let path = directory.path().join("secret");
    std::fs::write(&path, "hush-in-a-file\n").unwrap();
    let file = format!("django.secret_key_file={}", path.display());
    // Nothing listens on these ports: what goes wrong must not tell either.
    let addresses = [
        "mysql://chat:hush@127.0.0.1:1/db",
        "postgres://chat:hush@127.0.0.1:1/db",
        "postgres://127.0.0.1:1/db?user=chat&password=hush",
    ];
    for address in addresses {
        let url = format!("store.url={address}");
        let settings = [
            &*url,
            "store.wait_s=1",
            "layer.backend=redis",
            "layer.hosts=redis://:hush@127.0.0.1:1/0,rediss://u:hush@127.0.0.1:1/0",
            "layer.symmetric_encryption_keys=hush,hush-too",
            &file,
        ];
        for command in ["config", "check", "serve", "migrate", "healthcheck"] {
            let mut arguments = vec![command, "--set", "log.level=debug"];
            arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
            let outcome = run(&directory, &arguments).await;
            let told = outcome.stdout + &outcome.stderr;
            assert!(!told.contains("hush"), "{command} {address}: {told}");
            assert!(command != "config" || told.contains("***"), "{told}");
        }
    }
    let wrong = ["check", "--set", "store.url=oracle://chat:hush@h/db"];
    let refused = run(&directory, &wrong).await;
    assert!(
        refused.code == 2 && !refused.stderr.contains("hush"),
        "{refused:?}"
    );
    let broken = directory.path().join("broken.toml");
    std::fs::write(&broken, "[django]\nsecret_key = 'hush\n").unwrap();
    let broken = run(&directory, &["check", "--config", broken.to_str().unwrap()]).await;
    assert!(
        broken.code == 2 && !broken.stderr.contains("hush"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn healthcheck_asks_the_server_of_its_settings() {
    let directory = Directory::new();
    let server = Process::start(&directory, &["server.drain_s=1"]).await;
    let bind = format!("server.bind={}", server.address);
    let healthy = run(&directory, &["healthcheck", "--set", &bind]).await;
    assert_eq!(healthy.code, 0, "{healthy:?}");
    server.signal("TERM").await;
    server.ended().await;
    let gone = run(&directory, &["healthcheck", "--set", &bind]).await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("cannot be reached"), "{gone:?}");
}

#[tokio::test]
async fn help_and_version_are_no_mistakes() {
    let directory = Directory::new();
    let help = run(&directory, &["--help"]).await;
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("migrate") && help.stdout.contains("healthcheck"));
    let version = run(&directory, &["--version"]).await;
    assert_eq!(
        (version.code, version.stdout.trim()),
        (0, concat!("chatferry ", env!("CARGO_PKG_VERSION")))
    );
}

#[tokio::test]
async fn openapi_prints_what_the_server_serves() {
    let directory = Directory::new();
    let printed = run(&directory, &["openapi"]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    let server = Process::start(&directory, &["server.drain_s=1"]).await;
    let get = request("GET", "/openapi.json", &[], None);
    let answer = server.connect().await.ask(get).await;
    assert_eq!(answer.text(), printed.stdout);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
}
