//! A server in the test's own process.

use std::{net::SocketAddr, sync::Arc};

use chatferry::{
    app::App,
    config::Config,
    dialect::{Dialects, django::tables::schema},
    server::{self, Ended, Site},
    store::Schema,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Answer, Connection, Directory, Socket, request, soon};

/// A server on a free port. It ends with the test.
pub struct Server {
    pub site: Arc<Site>,
    pub app: Arc<App>,
    pub address: SocketAddr,
    pub directory: Arc<Directory>,
    serving: JoinHandle<Ended>,
}

/// The tables of the chat under the names of these settings.
pub fn schema_of(config: &Config) -> Schema {
    schema(&config.store.tables)
}

/// The settings of a test: a file of its own, and a short drain.
pub fn config(directory: &Directory, flags: &[(&str, &str)]) -> Config {
    let url = format!("sqlite://{}", directory.database().display());
    let ours = [
        ("server.bind", "127.0.0.1:0"),
        ("server.drain_s", "1"),
        // A client that waits for another one does not answer pings.
        ("ws.ping_interval_s", "600"),
        // Tests read the metrics, with an identity too.
        ("metrics.public", "yes"),
        ("store.url", &url),
    ];
    load(&ours, flags)
}

/// The settings of these flags; the later ones come first.
pub fn load(ours: &[(&str, &str)], flags: &[(&str, &str)]) -> Config {
    let flags = ours.iter().chain(flags);
    let flags: Vec<_> = flags
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config
}

impl Server {
    /// A server with no settings but those of every test.
    pub async fn start() -> Self {
        Server::with(&[]).await
    }

    /// A server with these settings.
    pub async fn with(flags: &[(&str, &str)]) -> Self {
        Server::on(Arc::new(Directory::new()), flags).await
    }

    /// A server on a directory that may hold a database already.
    pub async fn on(directory: Arc<Directory>, flags: &[(&str, &str)]) -> Self {
        let config = config(&directory, flags);
        let dialects = Dialects::of(&config);
        Server::mount(dialects, directory, config).await
    }

    /// A server with these kinds of chat.
    pub async fn mount(dialects: Dialects, directory: Arc<Directory>, config: Config) -> Self {
        let site = Box::pin(Site::mount(dialects, config)).await.unwrap();
        let server = server::Server::bind(Arc::clone(&site)).await.unwrap();
        let address = server.address().unwrap();
        let (_, address) = address.split_once("://").unwrap();
        let address = address.parse().unwrap();
        Server {
            app: Arc::clone(&site.app),
            site,
            address,
            directory,
            serving: tokio::spawn(server.run()),
        }
    }

    pub async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    /// Sends a request on a connection of its own.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        self.connect().await.ask(bytes).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, &[], None)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request("POST", path, &[], Some(&body))).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(request("PUT", path, &[], Some(&body))).await
    }

    /// The id of a new conversation between alice and bob (there is one in each database).
    pub async fn conversation(&self) -> String {
        self.conversation_of("alice", "bob").await
    }

    pub async fn conversation_of(&self, one: &str, two: &str) -> String {
        self.connect().await.conversation_of(one, two).await
    }

    /// Sends a message by REST.
    pub async fn message(&self, conversation: &str, sender: &str, content: &str) -> Answer {
        let path = format!("/api/chat/conversations/{conversation}/messages/send/");
        let body = json!({"sender_id": sender, "content": content});
        self.post(&path, body).await
    }

    /// A message sent by REST, which must be stored.
    pub async fn stored(&self, conversation: &str, sender: &str, content: &str) -> Value {
        let answer = self.message(conversation, sender, content).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// A socket whose history has been read.
    pub async fn socket(&self, conversation: &str) -> Socket {
        let (socket, _) = self.join(conversation).await;
        socket
    }

    /// A socket and the messages of its history.
    pub async fn join(&self, conversation: &str) -> (Socket, Vec<Value>) {
        let mut socket = Socket::open(self.connect().await, conversation).await;
        let history = socket.history().await;
        (socket, history)
    }

    /// The contents of a conversation's messages, as REST lists them.
    pub async fn contents(&self, conversation: &str) -> Vec<String> {
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        let messages = self.get(&path).await.json();
        let messages = messages.as_array().unwrap().iter();
        messages
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The value of a series of the metrics.
    pub async fn metric(&self, name: &str) -> f64 {
        self.connect().await.metric(name).await
    }

    /// Waits for the server to end by itself.
    pub async fn ended(self) -> Ended {
        self.serving.await.unwrap()
    }

    /// Drains the server and waits for its end.
    pub async fn drained(self) -> Ended {
        self.app.drain.begin();
        let ended = soon("the end of the drain", self.serving).await.unwrap();
        self.app.store_with_groups.close().await;
        ended
    }
}
