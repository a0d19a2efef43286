//! Programs in Python that a test starts, and that say on lines of their output what is to be known.

use std::{ffi::OsStr, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::soon;

/// A program, killed with the test.
pub struct Script {
    lines: Lines<BufReader<ChildStdout>>,
    #[expect(dead_code, reason = "killed with the test")]
    child: Child,
}

impl Script {
    /// Starts a file of the project.
    pub fn start(python: impl AsRef<OsStr>, file: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Script { lines, child }
    }

    /// Waits for its next line.
    pub async fn line(&mut self) -> String {
        let line = soon("a line of the script", self.lines.next_line()).await;
        line.unwrap().expect("the script goes on")
    }

    /// Waits for its next line; `None` if it has ended without one.
    pub async fn answer(&mut self) -> Option<String> {
        soon("an answer of the script", self.lines.next_line())
            .await
            .unwrap()
    }
}
