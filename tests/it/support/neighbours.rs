//! What a test finds beside Chatferry: ports, and a Python with the reference. What is missing is
//! said, and its tests are skipped.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

/// How long a `manage.py` may take that writes thousands of rows.
const DJANGO: Duration = Duration::from_secs(900);

/// Says why a test is not run, past the test runner's capture.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {why} ({test})");
}

/// A TCP port of 127.0.0.1 for a server that cannot be told to listen on any, or for nobody at
/// all. No other test takes it for as long as this lives, even while its server is away.
pub struct Port {
    pub number: u16,
    /// On the UDP port of the same number, by which tests of other processes see that it is taken.
    #[expect(dead_code, reason = "held until the end")]
    claim: UdpSocket,
}

impl Port {
    /// The next port that nobody has. Those the kernel gives to outgoing connections, from 32768
    /// on, are left alone: there are thousands of them in these tests.
    pub fn claim() -> Self {
        const FIRST: u16 = 10_000;
        const COUNT: u16 = 22_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
        for _ in 0..COUNT {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + start.wrapping_add(next) % COUNT;
            let address = (Ipv4Addr::LOCALHOST, number);
            if let (Ok(claim), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
                return Port { number, claim };
            }
        }
        panic!("no port is free");
    }
}

/// A Python with the reference's packages and the databases' drivers.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("CHATFERRY_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip("no Python with Django: CHATFERRY_TEST_PYTHON is not set");
    }
    python
}

/// The directory of the reference's `manage.py`.
pub fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/reference")
}

/// Runs `manage.py` of the reference on a database; what it printed, or none if there is no Django
/// here.
pub async fn manage(database: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(python()?);
    command
        .arg("manage.py")
        .args(arguments)
        .current_dir(reference())
        .env("DATABASE_URL", database)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    let output = timeout(DJANGO, command.output()).await;
    let output = output.expect("manage.py ends").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "manage.py {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}
