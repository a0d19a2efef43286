//! A MariaDB or MySQL server: a private one, or the one the environment names.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use mysql_async::{Conn, Opts, prelude::Queryable};
use tokio::{runtime, task::spawn_blocking};

use crate::support::{
    Directory, PATIENCE, Port, Shared,
    certificate::certify,
    child::{end, freeze, signal},
    skip,
};

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
    flavour: Flavour,
    program: PathBuf,
    directory: Directory,
    port: Port,
    options: std::sync::Mutex<Vec<String>>,
    server: std::sync::Mutex<Option<Child>>,
    /// Kept for the tests after this one.
    _initial: Arc<Initial>,
}

/// The data directory of a server that has never run, to be copied.
struct Initial {
    directory: Directory,
}

/// Its name, in each directory that has one.
const DATA: &str = "data";

/// What makes a server begin quickly and write little: small logs, which reach the disk when they
/// may. The machine does not crash, only the server.
fn lean(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MariaDb => &[
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=2",
        ],
        Flavour::MySql => &[
            "--innodb-redo-log-capacity=16M",
            "--innodb-flush-log-at-trx-commit=2",
            "--skip-log-bin",
            "--performance-schema=OFF",
        ],
    }
}

impl Instance {
    /// The server that tests share which do it no harm; it ends with the last of them.
    pub async fn shared(flavour: Flavour) -> Option<Arc<Self>> {
        static MARIADB: Shared<Instance> = Shared::new();
        static MYSQL: Shared<Instance> = Shared::new();
        let (shared, variable) = match flavour {
            Flavour::MariaDb => (&MARIADB, "CHATFERRY_TEST_MARIADB"),
            Flavour::MySql => (&MYSQL, "CHATFERRY_TEST_MYSQL"),
        };
        let make = async || match std::env::var(variable) {
            Ok(location) => Some(Instance {
                location: location.trim_end_matches('/').to_owned(),
                private: None,
                databases: AtomicU32::new(0),
            }),
            Err(_) => Instance::private(flavour, &[]).await,
        };
        shared.get(make).await
    }

    /// A server of the test's own, which it may stop, started with these options more.
    pub async fn private(flavour: Flavour, options: &[&str]) -> Option<Self> {
        Instance::certified(flavour, options, certify).await
    }

    /// The same, with the certificate that is made in its directory.
    pub async fn certified(
        flavour: Flavour,
        options: &[&str],
        certify: fn(&Path) -> bool,
    ) -> Option<Self> {
        let Some(program) = program(flavour) else {
            skip(match flavour {
                Flavour::MariaDb => "no MariaDB",
                Flavour::MySql => "no MySQL",
            });
            return None;
        };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let initial = Initial::shared(flavour, &program).await?;
        let instance =
            spawn_blocking(move || Instance::of(flavour, initial, program, options, certify));
        Some(instance.await.unwrap())
    }

    fn of(
        flavour: Flavour,
        initial: Arc<Initial>,
        program: PathBuf,
        options: Vec<String>,
        certify: fn(&Path) -> bool,
    ) -> Self {
        let directory = Directory::new();
        certify(directory.path());
        initial.directory.copy(DATA, directory.path());
        let private = Private {
            flavour,
            program,
            directory,
            port: Port::claim(),
            options: std::sync::Mutex::new(options),
            server: std::sync::Mutex::new(None),
            _initial: initial,
        };
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
    pub fn stop(&self, name: &str) {
        let server = self.ours().server.lock().unwrap().take();
        if let Some(server) = server {
            end(server, name);
        }
    }

    /// Returns whether the server has ended by itself.
    pub fn has_ended(&self) -> bool {
        let mut server = self.ours().server.lock().unwrap();
        server
            .as_mut()
            .is_none_or(|it| it.try_wait().unwrap().is_some())
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
        freeze(self.ours().process());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(self.ours().process(), "CONT");
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

impl Initial {
    /// That of a server of this kind.
    async fn shared(flavour: Flavour, program: &Path) -> Option<Arc<Self>> {
        static MARIADB: Shared<Initial> = Shared::new();
        static MYSQL: Shared<Initial> = Shared::new();
        let shared = match flavour {
            Flavour::MariaDb => &MARIADB,
            Flavour::MySql => &MYSQL,
        };
        let program = program.to_owned();
        let make = async || {
            let made = spawn_blocking(move || Initial::new(flavour, &program));
            Some(made.await.unwrap())
        };
        shared.get(make).await
    }

    fn new(flavour: Flavour, program: &Path) -> Self {
        let directory = Directory::new();
        let data = format!("--datadir={}", directory.path().join(DATA).display());
        let mut command = match flavour {
            Flavour::MariaDb => {
                let mut command = Command::new("mariadb-install-db");
                command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                command.arg("--skip-test-db");
                command
            }
            Flavour::MySql => {
                let mut command = Command::new(program);
                command.args(["--no-defaults", "--initialize-insecure"]);
                command
            }
        };
        command.arg(data).arg("--user=root").args(lean(flavour));
        command.env("TMPDIR", directory.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Initial { directory }
    }
}

impl Private {
    fn process(&self) -> u32 {
        self.server.lock().unwrap().as_ref().unwrap().id()
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
            .args(lean(self.flavour))
            .args(&*self.options.lock().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.directory.path().join("cert.pem").exists() {
            let authority = ["ca.pem", "cert.pem"];
            let authority = authority
                .into_iter()
                .find(|name| Path::new(&path(name)).exists());
            command.args([
                format!("--ssl-ca={}", path(authority.unwrap())),
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
