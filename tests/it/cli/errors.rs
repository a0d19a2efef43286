//! The page of the likeliest errors, `src/cli/README.md`: each is produced and must read as it says.

use std::net::TcpListener;

use crate::support::{
    Directory,
    process::{chatferry, finish},
};

/// A free port: another test, or the machine, may have a server on the default one.
const ANYWHERE: &str = "server.bind=127.0.0.1:0";

/// The page.
pub fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/README.md");
    std::fs::read_to_string(path).unwrap()
}

/// What a command that fails says, with the test's own directory as it is called on the page.
pub async fn told(directory: &Directory, arguments: &[&str]) -> String {
    let failed = finish(chatferry(directory, arguments)).await;
    assert!([1, 2].contains(&failed.code), "{failed:?}");
    let here = directory.path().to_str().unwrap();
    failed.stderr.replace(here, "/srv/chat")
}

pub fn assert_on_the_page(text: &str) {
    let block = format!("```\n{text}```\n");
    assert!(page().contains(&block), "not on the page:\n{block}");
}

#[tokio::test]
async fn an_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bind = format!("server.bind={address}");
    let text = told(&Directory::new(), &["serve", "--set", &bind]).await;
    assert_on_the_page(&text.replace(&address, "127.0.0.1:8000"));
}

#[tokio::test]
async fn an_address_that_anybody_reaches() {
    let bind = "server.bind=0.0.0.0:8000";
    assert_on_the_page(&told(&Directory::new(), &["serve", "--set", bind]).await);
}

#[tokio::test]
async fn a_name_that_is_misspelt() {
    let directory = Directory::new();
    let file = directory.path().join("chatferry.toml");
    std::fs::write(file, "[ws]\nhistroy_limit = 50\n").unwrap();
    assert_on_the_page(&told(&directory, &["check", "--set", ANYWHERE]).await);
}

#[tokio::test]
async fn a_value_of_the_wrong_kind() {
    let value = "layer.backend=redsi";
    assert_on_the_page(&told(&Directory::new(), &["serve", "--set", value]).await);
}

#[tokio::test]
async fn a_file_that_is_not_there() {
    let file = ["serve", "--config", "/etc/chatferry.toml"];
    assert_on_the_page(&told(&Directory::new(), &file).await);
}

#[tokio::test]
async fn a_directory_that_is_not_there() {
    let directory = Directory::new();
    let url = format!(
        "store.url=sqlite://{}/data/chat.sqlite3",
        directory.path().display()
    );
    assert_on_the_page(&told(&directory, &["serve", "--set", &url]).await);
}

#[tokio::test]
async fn a_database_without_tables() {
    let directory = Directory::new();
    let file = rusqlite::Connection::open(directory.path().join("db.sqlite3")).unwrap();
    file.execute_batch("CREATE TABLE shop (id integer)")
        .unwrap();
    let url = format!(
        "store.url=sqlite://{}/db.sqlite3",
        directory.path().display()
    );
    assert_on_the_page(&told(&directory, &["serve", "--set", &url]).await);
}

#[tokio::test]
async fn a_database_that_does_not_answer() {
    let url = "store.url=mysql://chat:s3cret@127.0.0.1:1/chat";
    let arguments = ["serve", "--set", url, "--set", "store.wait_s=0"];
    let text = told(&Directory::new(), &arguments).await;
    assert_on_the_page(&text.replace("127.0.0.1:1", "127.0.0.1:3306"));
}

#[tokio::test]
async fn a_redis_that_does_not_answer() {
    let hosts = "layer.hosts=redis://127.0.0.1:1";
    let redis = ["--set", "layer.backend=redis", "--set", hosts];
    let arguments = [&["check", "--set", ANYWHERE], &redis[..]].concat();
    let text = told(&Directory::new(), &arguments).await;
    assert_on_the_page(&text.replace("127.0.0.1:1", "127.0.0.1:6379"));
}

#[test]
fn the_page_has_no_error_that_is_not_produced() {
    // Nine here, and in `postgres/start.rs` a database that does not let us in.
    assert_eq!(page().matches("\n```\nchatferry: ").count(), 10);
}
