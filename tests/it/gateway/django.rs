//! The reference itself behind the gateway, under Daphne on a Unix socket and on our database; as
//! it is, or changed on purpose. A test that cannot have it says so and passes.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{
    Directory, Server, Shared, Socket,
    neighbours::{python, reference},
    request,
    socket::path_of,
    soon, until,
};

/// Otherwise it refuses a handshake that takes five seconds, as many at once do on a busy machine.
pub const DAPHNE_IS_PATIENT: [&str; 2] = ["--websocket_connect_timeout", "120"];

/// A running reference.
pub struct Django {
    /// Killed with the test.
    daphne: Option<Child>,
    python: PathBuf,
    /// The environment, without the caller's.
    env: Vec<(String, String)>,
    pub directory: Arc<Directory>,
    /// Where its tables were copied from; kept for the tests after this one.
    migrated: Option<Arc<Django>>,
}

fn copy_of(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_of(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

impl Django {
    /// The reference as it is.
    pub async fn start() -> Option<Self> {
        Django::with(&[], &[]).await
    }

    /// The reference with texts in its files replaced: file, text, new text.
    pub async fn changed(changes: &[(&str, &str, &str)]) -> Option<Self> {
        Django::with(changes, &[]).await
    }

    pub async fn with(changes: &[(&str, &str, &str)], env: &[(&str, &str)]) -> Option<Self> {
        let mut django = Django::prepared(changes, env).await?;
        django.run().await;
        Some(django)
    }

    /// The reference with its tables made, and nobody serving it.
    pub async fn prepared(changes: &[(&str, &str, &str)], env: &[(&str, &str)]) -> Option<Self> {
        static MIGRATED: Shared<Django> = Shared::new();
        let mut django = Django::without_tables(changes, env)?;
        if env.iter().any(|(name, _)| *name == "DATABASE_URL") {
            django.migrate().await;
            return Some(django);
        }
        let migrated = MIGRATED.get(async || {
            let django = Django::without_tables(&[], &[])?;
            django.migrate().await;
            Some(django)
        });
        let migrated = migrated.await?;
        let tables = migrated.directory.database();
        std::fs::copy(tables, django.directory.database()).unwrap();
        django.migrated = Some(migrated);
        Some(django)
    }

    fn without_tables(changes: &[(&str, &str, &str)], env: &[(&str, &str)]) -> Option<Self> {
        let python = python()?;
        let directory = Arc::new(Directory::new());
        let home = directory.path().join("reference");
        copy_of(&reference(), &home);
        for (file, text, new) in changes {
            let file = home.join(file);
            let source = std::fs::read_to_string(&file).unwrap();
            assert!(source.contains(text), "{text}");
            std::fs::write(file, source.replace(text, new)).unwrap();
        }
        let database = format!("sqlite://{}", directory.database().display());
        let ours = [
            ("DATABASE_URL", database.as_str()),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("DJANGO_SETTINGS_MODULE", "service.settings"),
        ];
        let env = ours.iter().chain(env);
        let env = env.map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Some(Django {
            daphne: None,
            python,
            env,
            directory,
            migrated: None,
        })
    }

    async fn migrate(&self) {
        let migrate = ["manage.py", "migrate", "--verbosity", "0"];
        let migrated = self.command(&migrate).status().await.unwrap();
        assert!(migrated.success(), "the reference migrates");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args(arguments)
            .current_dir(self.directory.path().join("reference"))
            .env_remove("REDIS_URL")
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The JSON that a Python program prints for which Django is set up.
    pub async fn says(&self, program: &str) -> Value {
        let program = format!("import django, json; django.setup()\n{program}");
        let mut command = self.command(&["-c", &program]);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let output = soon("Python", command.output()).await.unwrap();
        assert!(output.status.success(), "{program}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("daphne.sock")
    }

    /// Runs Daphne and waits until it listens.
    pub async fn run(&mut self) {
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket);
        let address = socket.display().to_string();
        let mut daphne = vec!["-m", "daphne", "-u", &address];
        daphne.extend(DAPHNE_IS_PATIENT);
        daphne.push("service.asgi:application");
        self.daphne = Some(self.command(&daphne).spawn().unwrap());
        until("Daphne to listen", async || {
            tokio::net::UnixStream::connect(&socket).await.is_ok()
        })
        .await;
    }

    pub async fn stop(&mut self) {
        if let Some(mut daphne) = self.daphne.take() {
            daphne.kill().await.unwrap();
        }
    }

    /// A Chatferry in front of it, on the same database.
    pub async fn gateway(&self, flags: &[(&str, &str)]) -> Server {
        let upstream = format!("unix:{}", self.socket().display());
        let mut all = vec![
            ("gateway.upstream", upstream.as_str()),
            ("gateway.rollout_percent", "100"),
        ];
        all.extend(flags);
        Server::on(Arc::clone(&self.directory), &all).await
    }
}

#[tokio::test]
async fn django_s_own_pages_and_its_whole_chat_work_through_the_gateway() {
    let Some(django) = Django::start().await else {
        return;
    };
    let server = django.gateway(&[("gateway.rollout_percent", "0")]).await;
    let admin = server.get("/admin/login/?next=/admin/").await;
    assert_eq!(admin.status, 200);
    assert!(admin.text().contains("csrfmiddlewaretoken"));
    assert!(admin.headers.iter().any(|(name, _)| name == "set-cookie"));
    let moved = server.get("/admin").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/admin/"))
    );
    assert_eq!(server.get("/api/chat/").await.status, 404);
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    assert_eq!(server.contents(&id).await, ["still here"]);
    let large = "x".repeat(300_000);
    socket.say(&large).await;
    assert_eq!(socket.heard().await, large);
    let refused = Socket::try_open(server.connect().await, "/ws/chat/not-a-uuid/", "").await;
    assert_eq!(refused.err().unwrap().status, 500);
    socket
        .connection
        .send(crate::support::socket::frame(8, 1000_u16.to_be_bytes()))
        .await;
    assert_eq!(socket.close_code().await, 1000);
    socket.ended().await;
}

#[tokio::test]
async fn a_conversation_keeps_everything_when_it_moves_to_django_and_back() {
    let Some(django) = Django::start().await else {
        return;
    };
    let server = django.gateway(&[("server.drain_s", "1")]).await;
    let id = server.conversation().await;
    let move_to = |percent| {
        let gateway = server.site.gateway.as_ref().unwrap();
        gateway.reload(&chatferry::config::Gateway {
            rollout_percent: percent,
            ..server.app.config.gateway.clone()
        });
    };
    let mut said = Vec::new();
    for percent in [100, 0, 100, 0] {
        let (mut socket, history) = server.join(&id).await;
        let contents: Vec<_> = history.iter().map(|it| it["content"].clone()).collect();
        assert_eq!(contents, said, "at {percent}");
        let text = format!("at {percent}, {}", said.len());
        socket.say(&text).await;
        assert_eq!(socket.heard().await, text);
        said.push(json!(text));
        move_to(100 - percent);
        assert_eq!(socket.close_code().await, 1012);
        let code = crate::support::socket::frame(8, 1012_u16.to_be_bytes());
        socket.connection.send(code).await;
        soon("the end", socket.ended()).await;
    }
    assert_eq!(server.contents(&id).await.len(), said.len());
    let read = request(
        "OPTIONS",
        &format!("/api/chat/conversations/{id}/"),
        &[],
        None,
    );
    assert_eq!(server.send(read).await.status, 200);
    assert!(
        Socket::try_open(server.connect().await, &path_of(&id), "")
            .await
            .is_ok()
    );
}
