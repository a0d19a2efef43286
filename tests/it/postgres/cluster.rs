//! A PostgreSQL server: a private one, or the one the environment names.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

use crate::support::{
    Directory, PATIENCE, Port, Shared,
    child::{end, freeze, signal},
    skip, until,
};

/// A server that databases can be made on.
pub struct Cluster {
    /// Without a database: `postgres://user@host:port`.
    pub location: String,
    /// Of a private server; none if somebody else looks after it.
    private: Option<Private>,
    databases: AtomicU32,
}

struct Private {
    bin: PathBuf,
    directory: Directory,
    port: Port,
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

impl Cluster {
    /// The server that tests share which do it no harm; it ends with the last of them.
    pub async fn shared() -> Option<Arc<Self>> {
        static SHARED: Shared<Cluster> = Shared::new();
        let make = async || match std::env::var("CHATFERRY_TEST_POSTGRES") {
            Ok(location) => Some(Cluster {
                location: location.trim_end_matches('/').to_owned(),
                private: None,
                databases: AtomicU32::new(0),
            }),
            Err(_) => Cluster::private().await,
        };
        SHARED.get(make).await
    }

    /// A server of the test's own, which it may stop.
    pub async fn private() -> Option<Self> {
        Cluster::prepared(|_| ()).await
    }

    /// A server that lets in nobody without TLS over TCP. Its certificate is for `localhost`.
    pub async fn secure() -> Option<Self> {
        Cluster::prepared(Private::secure).await
    }

    async fn prepared(prepare: fn(&Private)) -> Option<Self> {
        let Some(bin) = programs() else {
            skip("no PostgreSQL");
            return None;
        };
        let initial = Initial::shared(&bin).await?;
        let cluster = spawn_blocking(move || Cluster::of(initial, bin, prepare));
        Some(cluster.await.unwrap())
    }

    fn of(initial: Arc<Initial>, bin: PathBuf, prepare: fn(&Private)) -> Self {
        let directory = directory();
        initial.directory.copy(DATA, directory.path());
        let private = Private {
            bin,
            directory,
            port: Port::claim(),
            server: std::sync::Mutex::new(None),
            _initial: initial,
        };
        prepare(&private);
        let cluster = Cluster {
            location: format!("postgres://chat@127.0.0.1:{}", private.port.number),
            private: Some(private),
            databases: AtomicU32::new(0),
        };
        cluster.start();
        cluster
    }

    /// A name that no other database of this server has.
    pub fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        format!("chatferry_it_{}_{number}", std::process::id())
    }

    /// Lets in by TCP only who has a certificate of the server's authority, from now on.
    pub async fn asks_for_certificates(&self) {
        let data = self.ours().data();
        let rules = "local all all trust\nhostssl all all all trust clientcert=verify-ca\n";
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let settings = "ssl = on\nssl_ca_file = 'root.crt'\n";
        std::fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        signal(self.ours().process(), "HUP");
        let url = format!("host={} port={}", data.display(), self.ours().port.number);
        until("the new rules", async || {
            let config = format!("{url} user=chat dbname=postgres");
            let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let row = client
                .query_one("SELECT current_setting('ssl_ca_file')", &[])
                .await;
            row.unwrap().get::<_, String>(0) == "root.crt"
        })
        .await;
    }

    /// Starts the server again and returns when it lets somebody in.
    pub fn start(&self) {
        let private = self.ours();
        let mut postgres = private.command("postgres");
        postgres
            .arg("-D")
            .arg(private.data())
            .args(["-p", &private.port.number.to_string(), "-k", "."])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=500",
                // The machine does not crash, only the server.
                "-c",
                "fsync=off",
            ]);
        let mut child = postgres.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !private.answers() {
            assert_eq!(child.try_wait().unwrap(), None, "PostgreSQL ended at once");
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        *private.server.lock().unwrap() = Some(child);
    }

    /// Ends the server with a signal: `INT` cuts everybody off, `QUIT` is a crash.
    pub fn stop(&self, name: &str) {
        let server = self.ours().server.lock().unwrap().take();
        if let Some(server) = server {
            end(server, name);
        }
    }

    /// Stops every process of the server where it stands, the first of them first: it starts no
    /// more then.
    pub fn freeze(&self) {
        freeze(self.ours().process());
        self.ours().processes().into_iter().for_each(freeze);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        for process in self.ours().processes() {
            signal(process, "CONT");
        }
    }

    /// Lets no file of the server grow past so many bytes, as a full disk does.
    pub fn limit_files(&self, size: &str) {
        let private = self.ours();
        let limited = private.processes().into_iter().map(|process| {
            let mut prlimit = private.as_account(Path::new("prlimit"));
            prlimit.args([
                format!("--pid={process}"),
                format!("--fsize={size}:unlimited"),
            ]);
            prlimit.status().unwrap().success()
        });
        // Others may have ended meanwhile; those that come have the limit of the first.
        assert!(limited.collect::<Vec<_>>()[0]);
    }

    /// The port of a private server, and the directory of its socket and certificate.
    pub fn place(&self) -> (u16, PathBuf) {
        (self.ours().port.number, self.ours().data())
    }

    fn ours(&self) -> &Private {
        self.private.as_ref().unwrap()
    }
}

impl Initial {
    async fn shared(bin: &Path) -> Option<Arc<Self>> {
        static SHARED: Shared<Initial> = Shared::new();
        let initdb = bin.join("initdb");
        let make = async || {
            let made = spawn_blocking(move || Initial::new(&initdb));
            Some(made.await.unwrap())
        };
        SHARED.get(make).await
    }

    fn new(initdb: &Path) -> Self {
        let directory = directory();
        let status = as_server(initdb, &directory)
            .args(["-N", "-U", "chat", "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "-D", DATA])
            .status();
        assert!(status.unwrap().success());
        Initial { directory }
    }
}

/// A directory that PostgreSQL may write to.
pub fn directory() -> Directory {
    let directory = Directory::new();
    if let Some((user, group)) = account() {
        std::os::unix::fs::chown(directory.path(), Some(user), Some(group)).unwrap();
    }
    directory
}

/// A program of PostgreSQL's in a directory; it refuses to be run by root.
pub fn as_server(program: &Path, directory: &Directory) -> Command {
    let mut command = match account() {
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command
                .args([format!("--reuid={user}"), format!("--regid={group}")])
                .arg("--clear-groups")
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Private {
    fn data(&self) -> PathBuf {
        self.directory.path().join(DATA)
    }

    fn command(&self, program: &str) -> Command {
        self.as_account(&self.bin.join(program))
    }

    fn as_account(&self, program: &Path) -> Command {
        as_server(program, &self.directory)
    }

    fn process(&self) -> u32 {
        self.server.lock().unwrap().as_ref().unwrap().id()
    }

    /// The one that was started, and one for each connection and each duty.
    fn processes(&self) -> Vec<u32> {
        let first = self.process();
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let children = children.split_whitespace().map(|id| id.parse().unwrap());
        [first].into_iter().chain(children).collect()
    }

    fn secure(&self) {
        let data = self.data();
        let certificate = |name: &str, more: &[&str]| {
            let (key, out) = (format!("{name}.key"), format!("{name}.crt"));
            let mut openssl = self.as_account(Path::new("openssl"));
            openssl
                .current_dir(&data)
                .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
                .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
                .args([
                    "-subj",
                    &format!("/CN={name}"),
                    "-keyout",
                    &key,
                    "-out",
                    &out,
                ])
                .args(more);
            assert!(openssl.status().unwrap().success());
        };
        certificate("root", &[]);
        let names = "subjectAltName=DNS:localhost";
        let signed = ["-CA", "root.crt", "-CAkey", "root.key", "-addext", names];
        certificate(
            "server",
            &[&signed[..], &["-extensions", "v3_req"]].concat(),
        );
        let rules = "local all all trust\nhostssl all all all trust\n";
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let settings = data.join("postgresql.auto.conf");
        std::fs::write(settings, "ssl = on\n").unwrap();
    }

    fn answers(&self) -> bool {
        let mut command = self.command("pg_isready");
        let port = self.port.number.to_string();
        let status = command
            .args(["-q", "-h", "127.0.0.1", "-p", &port])
            .status();
        status.unwrap().success()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Ok(Some(server)) = self.server.get_mut().map(Option::take) {
            end(server, "QUIT");
        }
    }
}

/// Where PostgreSQL's programs are: where the environment says, on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHATFERRY_TEST_POSTGRES_BIN") {
        return Some(named.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = versions.flatten().map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).chain(debian).collect();
    places.sort_by_key(|place| !place.starts_with("/usr/lib/postgresql"));
    let complete = |place: &PathBuf| {
        let programs = ["initdb", "postgres", "pg_isready"];
        programs.iter().all(|program| place.join(program).exists())
    };
    places.into_iter().find(complete)
}

/// The user and group that PostgreSQL is run as, if this is root.
fn account() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let Output { stdout, .. } = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?))
}
