//! Files in a directory. One is written under a name of its own, synced, and then renamed, so that what
//! has its name is whole.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::stream;
use tokio::task::spawn_blocking;

use super::{ByteRange, FileError, OpenFile, upload::Received};

/// Bytes that are read at a time.
const CHUNK: u64 = 128 * 1024;

/// Characters of a name that name the directory which the file is in, counted from its end: the
/// random part of a UUID.
const SPREAD: usize = 2;

/// A directory of files.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Directory { path }
    }

    /// Returns the directory of files that are being received. It is on the same file system, so that
    /// one can be renamed to its place.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.path.join("receiving")
    }

    /// Returns the path of a file; those of one directory are a share of all.
    fn path_of(&self, name: &str) -> PathBuf {
        let id = name.split('.').next().unwrap_or(name);
        let part = id.get(id.len().saturating_sub(SPREAD)..).unwrap_or("xx");
        self.path.join(part).join(name)
    }

    /// Renames a received file to its name, for good.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub async fn keep(&self, name: &str, file: &Received) -> Result<(), FileError> {
        let (from, to) = (file.path().to_owned(), self.path_of(name));
        blocking(move || {
            let directory = to.parent().unwrap_or(Path::new("."));
            make(directory)?;
            File::open(&from)?.sync_all()?;
            fs::rename(&from, &to)?;
            File::open(directory)?.sync_all()
        })
        .await
    }

    /// Reads a file, or a part of it.
    ///
    /// # Errors
    /// [`FileError::Missing`], or when it cannot be read.
    pub async fn read(&self, name: &str, range: Option<ByteRange>) -> Result<OpenFile, FileError> {
        let path = self.path_of(name);
        let (file, size) = blocking(move || {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(range.map_or(0, |range| range.first)))?;
            Ok((file, size))
        })
        .await?;
        let wanted = range.map_or(size, |range| range.last - range.first + 1);
        let chunks = stream::try_unfold((file, wanted), |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            blocking(move || {
                let mut chunk = Vec::new();
                let read = (&mut file).take(left.min(CHUNK)).read_to_end(&mut chunk)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let left = left - u64::try_from(read).unwrap_or(left);
                Ok(Some((Bytes::from(chunk), (file, left))))
            })
            .await
        });
        Ok(OpenFile::new(size, chunks))
    }

    /// # Errors
    /// [`FileError::Missing`], or when it cannot be deleted.
    pub async fn delete(&self, name: &str) -> Result<(), FileError> {
        let path = self.path_of(name);
        blocking(move || fs::remove_file(path)).await
    }
}

/// Makes a directory for its owner only, and those that it is in.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Does what may block on another thread.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FileError> {
    let done = spawn_blocking(work).await.map_err(io::Error::other);
    Ok(done.flatten()?)
}
