//! A directory of a test's own, and SQLite files in it.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use rusqlite::Connection;

/// A new, empty directory, removed at the end of the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("chatferry-it-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Directory(path),
                // Of an earlier process of the same number, which was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Copies a directory of this one, with the owners of its files, to another place.
    pub fn copy(&self, name: &str, to: &Path) {
        let mut copying = Command::new("cp");
        let copied = copying.arg("-a").arg(self.0.join(name)).arg(to).status();
        assert!(copied.unwrap().success(), "{name} is copied");
    }

    /// The file that servers of this directory work on.
    pub fn database(&self) -> PathBuf {
        self.0.join("chat.sqlite3")
    }

    /// Another connection to that file, as another process has one.
    pub fn open(&self) -> Connection {
        let db = Connection::open(self.database()).unwrap();
        db.busy_timeout(super::PATIENCE).unwrap();
        db
    }

    /// The single value that a query gives.
    pub fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
