//! A lock against other processes that serve the same file. With an in-memory layer their sockets
//! would not hear each other; with one of Redis any number may serve it.
//!
//! The lock is on a file of its own: closing any handle of the database's would take SQLite's locks
//! away. It ends with the process, however that ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The outcome of an attempt to lock the file.
#[derive(Debug)]
pub enum Sole {
    /// No process serves it that does not hear this one. Held for as long as this lives.
    Yes(File),
    /// Another process serves it, and the two do not hear each other.
    No(PathBuf),
}

/// Notes that this process serves the database `path`; `hears_others` is whether it has a layer
/// that takes events to other processes.
///
/// # Errors
/// When the system cannot lock files there.
pub fn lock(path: &Path, hears_others: bool) -> io::Result<Sole> {
    let name = name(path);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(&name)?;
    match try_lock(&file, hears_others) {
        Ok(()) => Ok(Sole::Yes(file)),
        Err(TryLockError::WouldBlock) => Ok(Sole::No(name)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns the lock of another process that keeps this one from the database `path`, if there is
/// any.
///
/// # Errors
/// When the system cannot lock files there.
pub fn holder(path: &Path, hears_others: bool) -> io::Result<Option<PathBuf>> {
    let name = name(path);
    if !name.exists() {
        return Ok(None);
    }
    match try_lock(&File::open(&name)?, hears_others) {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(name)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn try_lock(file: &File, hears_others: bool) -> Result<(), TryLockError> {
    if hears_others {
        file.try_lock_shared()
    } else {
        file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_processes_that_hear_each_other_share_a_file() {
        let path = std::env::temp_dir().join(format!("chatferry-sole-{}", Uuid::new_v4()));
        let lock = |hears_others| lock(&path, hears_others).unwrap();
        assert!(holder(&path, false).unwrap().is_none());
        let alone = lock(false);
        assert!(holder(&path, false).unwrap().is_some());
        assert!(matches!(alone, Sole::Yes(_)));
        assert!(matches!(lock(false), Sole::No(_)));
        assert!(matches!(lock(true), Sole::No(_)));
        drop(alone);
        let several = [lock(true), lock(true)];
        assert!(several.iter().all(|it| matches!(it, Sole::Yes(_))));
        assert!(matches!(lock(false), Sole::No(_)));
        drop(several);
        let Sole::Yes(_) = lock(false) else {
            panic!("free again")
        };
        std::fs::remove_file(format!("{}.lock", path.display())).unwrap();
    }
}
