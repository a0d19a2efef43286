//! A MariaDB or MySQL server: a private one, or the one the environment names.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use mysql_async::{Conn, Opts, prelude::Queryable};
use tokio::{runtime, sync::Mutex};

use crate::support::{Directory, PATIENCE, Port, certificate::certify, skip};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    MariaDb,
    MySql,
}

/// The password of the user that the tests make; it needs quoting everywhere.
const PASSWORD: &str = "p@ss/wörd";
const PASSWORD_IN_URL: &str = "p%40ss%2Fw%C3%B6rd";

/// A server that databases can be made on.
pub struct Instance {
    /// Of somebody who may do everything: `mysql://root@host:port`, without a database.
    pub location: String,
    /// Of a private server; none if somebody else looks after it.
    private: Option<Private>,
    databases: AtomicU32,
}

struct Private {
    program: PathBuf,
    directory: Directory,
    port: Port,
    options: std::sync::Mutex<Vec<String>>,
    server: std::sync::Mutex<Option<Child>>,
}

impl Instance {
    /// The server that tests share which do it no harm; it ends with the last of them.
    pub async fn shared(flavour: Flavour) -> Option<Arc<Self>> {
        static MARIADB: Mutex<Weak<Instance>> = Mutex::const_new(Weak::new());
        static MYSQL: Mutex<Weak<Instance>> = Mutex::const_new(Weak::new());
        let (shared, variable) = match flavour {
            Flavour::MariaDb => (&MARIADB, "CHATFERRY_TEST_MARIADB"),
            Flavour::MySql => (&MYSQL, "CHATFERRY_TEST_MYSQL"),
        };
        let mut shared = shared.lock().await;
        if let Some(instance) = shared.upgrade() {
            return Some(instance);
        }
        let instance = match std::env::var(variable) {
            Ok(location) => Arc::new(Instance {
                location: location.trim_end_matches('/').to_owned(),
                private: None,
                databases: AtomicU32::new(0),
            }),
            Err(_) => Instance::private(flavour, &[]).await?,
        };
        *shared = Arc::downgrade(&instance);
        Some(instance)
    }

    /// A server of the test's own, which it may stop, started with these options more.
    pub async fn private(flavour: Flavour, options: &[&str]) -> Option<Arc<Self>> {
        let Some(program) = program(flavour) else {
            skip(match flavour {
                Flavour::MariaDb => "no MariaDB",
                Flavour::MySql => "no MySQL",
            });
            return None;
        };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let instance =
            tokio::task::spawn_blocking(move || Instance::initialized(flavour, program, options));
        Some(Arc::new(instance.await.unwrap()))
    }

    fn initialized(flavour: Flavour, program: PathBuf, options: Vec<String>) -> Self {
        let directory = Directory::new();
        certify(directory.path());
        let private = Private {
            program,
            directory,
            port: Port::claim(),
            options: std::sync::Mutex::new(options),
            server: std::sync::Mutex::new(None),
        };
        private.initialize(flavour);
        let instance = Instance {
            location: format!("mysql://root@127.0.0.1:{}", private.port.number),
            private: Some(private),
            databases: AtomicU32::new(0),
        };
        instance.start();
        instance
    }

    /// A name that no other database of this server has.
    pub fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        format!("chatferry_it_{}_{number}", std::process::id())
    }

    /// Makes a database, and a user who may do everything in it and nothing else. Its URL.
    pub async fn make(&self, name: &str) -> String {
        let mut root = self.root().await;
        for sql in [
            format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
            format!("CREATE USER IF NOT EXISTS chatferry_it@'%' IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT ALL ON {name}.* TO chatferry_it@'%'"),
        ] {
            root.query_drop(sql).await.unwrap();
        }
        let (_, server) = self.location.rsplit_once('@').unwrap();
        format!("mysql://chatferry_it:{PASSWORD_IN_URL}@{server}/{name}")
    }

    /// Somebody who may do everything.
    pub async fn root(&self) -> Conn {
        connect(&self.location).await.unwrap()
    }

    /// Starts the server again and returns when it lets somebody in.
    pub fn start(&self) {
        let private = self.ours();
        let mut child = private.serving().spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !answers(&self.location) {
            assert_eq!(child.try_wait().unwrap(), None, "the server ended at once");
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        *private.server.lock().unwrap() = Some(child);
    }

    /// Ends the server with a signal: `TERM` is a proper end, `KILL` a crash.
    pub fn stop(&self, signal: &str) {
        let server = self.ours().server.lock().unwrap().take();
        if let Some(server) = server {
            end(server, signal);
        }
    }

    /// Stops the server and starts it with these options instead of those it was made with.
    pub fn restart_with(&self, options: &[&str]) {
        self.stop("TERM");
        let options = options.iter().map(|option| (*option).to_owned());
        *self.ours().options.lock().unwrap() = options.collect();
        self.start();
    }

    /// Stops the server where it stands. Returns when none of its threads runs any more: what is
    /// asked from then on is not heard.
    pub fn freeze(&self) {
        let server = self.ours().server.lock().unwrap();
        let server = server.as_ref().unwrap();
        kill(server, "STOP");
        let deadline = Instant::now() + PATIENCE;
        while !all_stopped(server) {
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill(self.ours().server.lock().unwrap().as_ref().unwrap(), "CONT");
    }

    /// The socket and the certificate of a private server.
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        let directory = self.private.as_ref()?.directory.path();
        Some((directory.join("socket"), directory.join("cert.pem")))
    }

    fn ours(&self) -> &Private {
        self.private.as_ref().unwrap()
    }
}

impl Private {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialize(&self, flavour: Flavour) {
        let data = format!("--datadir={}", self.data().display());
        let mut command = match flavour {
            Flavour::MariaDb => {
                let mut command = Command::new("mariadb-install-db");
                command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                command.arg("--skip-test-db");
                command
            }
            Flavour::MySql => {
                let mut command = Command::new(&self.program);
                command.args(["--no-defaults", "--initialize-insecure"]);
                command
            }
        };
        command.arg(data).arg("--user=root");
        command.env("TMPDIR", self.directory.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn serving(&self) -> Command {
        let mut command = Command::new(&self.program);
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        command
            .env("TMPDIR", self.directory.path())
            .arg("--no-defaults")
            .arg("--user=root")
            .args([
                format!("--datadir={}", path("data")),
                format!("--socket={}", path("socket")),
                format!("--pid-file={}", path("pid")),
                format!("--port={}", self.port.number),
            ])
            .args([
                "--bind-address=127.0.0.1",
                "--max-connections=1000",
                "--innodb-buffer-pool-size=32M",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_unicode_ci",
            ])
            .args(&*self.options.lock().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.directory.path().join("cert.pem").exists() {
            command.args([
                format!("--ssl-ca={}", path("cert.pem")),
                format!("--ssl-cert={}", path("cert.pem")),
                format!("--ssl-key={}", path("key.pem")),
            ]);
        }
        command
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Ok(Some(server)) = self.server.get_mut().map(Option::take) {
            end(server, "KILL");
        }
    }
}

/// A connection to a URL, with or without a database.
pub async fn connect(url: &str) -> Result<Conn, mysql_async::Error> {
    Conn::new(Opts::from_url(&format!("{url}?prefer_socket=false")).unwrap()).await
}

fn answers(location: &str) -> bool {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { connect(location).await.is_ok() })
}

fn kill(server: &Child, signal: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &server.id().to_string()])
        .status();
}

/// Whether every thread is in the state `T`, which stands behind the name in parentheses.
fn all_stopped(server: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_none_or(|(_, rest)| rest.starts_with(" T"))
    })
}

fn end(mut server: Child, signal: &str) {
    kill(&server, signal);
    let _ = server.wait();
}

fn program(flavour: Flavour) -> Option<PathBuf> {
    if flavour == Flavour::MySql {
        return std::env::var_os("CHATFERRY_TEST_MYSQLD").map(PathBuf::from);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name| {
        let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let mut programs = places.map(|place| place.join(name));
        programs.find(|program| program.exists())
    };
    // The data directory is made by a script that calls it.
    find("my_print_defaults").and_then(|_| find("mariadbd"))
}
