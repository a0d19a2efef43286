//! The real binary, where the process itself matters: exit codes, signals, output, memory.

use std::{mem::take, net::SocketAddr, path::Path, process::Stdio, thread, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
};

use super::{Connection, Directory, Socket, soon, until};

/// The binary that was built with the tests.
pub const BINARY: &str = env!("CARGO_BIN_EXE_chatferry");

/// A command of the binary in a test's directory, with none of the caller's settings.
pub fn chatferry(directory: &Directory, arguments: &[&str]) -> Command {
    command_of(Path::new(BINARY), directory, arguments)
}

fn command_of(binary: &Path, directory: &Directory, arguments: &[&str]) -> Command {
    // A file that may not grow shall be an error, as on a full disk, and not a signal.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(binary)
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ours = ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_uppercase();
        if ours.contains(&&*text) || text.starts_with("CHATFERRY__") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    if arguments.contains(&"check") && !arguments.iter().any(|word| word.contains("bind")) {
        // It binds what `serve` would: by default a port that anything else may have.
        command.env("CHATFERRY__SERVER__BIND", "127.0.0.1:0");
    }
    command
}

/// What a command that ends by itself did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command of the binary to its end.
pub async fn run(directory: &Directory, arguments: &[&str]) -> Outcome {
    finish(chatferry(directory, arguments)).await
}

pub async fn finish(mut command: Command) -> Outcome {
    let output = soon("the command's end", command.output()).await.unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A server process, killed at the end of the test if it still runs.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// `None` if it is led elsewhere.
    stderr: Option<BufReader<ChildStderr>>,
    /// What has been read of it.
    log: String,
}

impl Process {
    /// Starts a server with these settings and waits until it listens.
    pub async fn start(directory: &Directory, settings: &[&str]) -> Self {
        Process::start_binary(Path::new(BINARY), directory, settings).await
    }

    pub async fn start_binary(binary: &Path, directory: &Directory, settings: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--set", "server.bind=127.0.0.1:0"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        Process::of(command_of(binary, directory, &arguments)).await
    }

    /// Runs a command that serves, and waits until it listens.
    pub async fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (mut line, mut log) = (String::new(), String::new());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().map(BufReader::new);
        soon("the line", stdout.read_line(&mut line)).await.unwrap();
        // In JSON the address is the end of a text.
        let line = line.trim().trim_end_matches("\"}");
        let Some((_, address)) = line.rsplit_once("://") else {
            if let Some(stderr) = &mut stderr {
                let _ = stderr.read_to_string(&mut log).await;
            }
            panic!("the server did not start: {log}");
        };
        Process {
            address: address.parse().unwrap(),
            child,
            stderr,
            log,
        }
    }

    pub async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    /// The id of the conversation of alice and bob, which is made if it is not there.
    pub async fn conversation(&self) -> String {
        self.connect().await.conversation().await
    }

    /// A socket whose history has been read.
    pub async fn socket(&self, conversation: &str) -> Socket {
        let mut socket = Socket::open(self.connect().await, conversation).await;
        socket.history().await;
        socket
    }

    /// Sends a signal by its name, as `TERM`.
    pub async fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id().unwrap());
        let status = Command::new("sh").args(["-c", &command]).status().await;
        assert!(status.unwrap().success());
    }

    /// Lets no file of the process grow past `size`, as a full disk does.
    pub async fn limit_files(&self, size: &str) {
        let pid = self.child.id().unwrap();
        let size = size.replace('K', "000");
        let command = format!("prlimit --pid {pid} --fsize={size}:unlimited");
        let status = Command::new("sh").args(["-c", &command]).status().await;
        assert!(status.unwrap().success());
    }

    /// Lets the process have no more than so many files and sockets open.
    pub async fn limit_descriptors(&self, most: usize) {
        let pid = self.child.id().unwrap();
        let command = format!("prlimit --pid {pid} --nofile={most}");
        let status = Command::new("sh").args(["-c", &command]).status().await;
        assert!(status.unwrap().success());
    }

    /// Waits for the process to end; its exit code and what it wrote to standard error, if that was
    /// not led elsewhere.
    pub async fn ended(mut self) -> (i32, String) {
        let status = soon("the process' end", self.child.wait()).await.unwrap();
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut self.log).await.unwrap();
        }
        (status.code().unwrap_or(-1), take(&mut self.log))
    }

    /// Waits until it has written a line with this text to standard error.
    pub async fn logs(&mut self, text: &str) {
        let stderr = self.stderr.as_mut().unwrap();
        while !self.log.contains(text) {
            let read = soon(text, stderr.read_line(&mut self.log)).await;
            assert!(read.unwrap() > 0, "{text} is not in {}", self.log);
        }
    }

    /// Waits until it has written a line with this text to standard error; the word that follows it.
    pub async fn logs_word(&mut self, text: &str) -> String {
        self.logs(text).await;
        let (_, rest) = self.log.split_once(text).unwrap();
        let word = rest.split_whitespace().next().unwrap();
        word.to_owned()
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id().unwrap());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Waits until it has done everything it can do: none of its threads runs, is to run, or has
    /// run between two looks.
    pub async fn rests(&self) {
        let mut before = None;
        until("the server to rest", async || {
            let now = self.switches();
            let rests = now.is_some() && now == before;
            before = now;
            rests
        })
        .await;
    }

    /// How often its threads have gone to sleep; `None` while one of them is awake.
    fn switches(&self) -> Option<u64> {
        let threads = format!("/proc/{}/task", self.child.id().unwrap());
        let mut switches = 0;
        for thread in std::fs::read_dir(threads).unwrap().flatten() {
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
            if !field("State:")?.trim().starts_with('S') {
                return None;
            }
            switches += field("voluntary_ctxt_switches:")?
                .trim()
                .parse::<u64>()
                .ok()?;
        }
        Some(switches)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Resident pages of files in KiB: of the program itself, above all. They only become more.
    pub fn mapped_kib(&self) -> u64 {
        self.status_kib("RssFile:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse().unwrap()
    }
}

impl Drop for Process {
    /// Kills the server and waits for its end: another one may be started on the same files.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        while let Ok(None) = self.child.try_wait() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
