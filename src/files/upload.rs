//! Receiving a file: bytes go to a file of their own as they come, and are counted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout};

use super::{FileError, Files, directory::blocking};
use crate::random;

/// Bytes that gather before they are written.
const WRITTEN: usize = 256 * 1024;

/// Longest wait for the next bytes, and time after which the rate counts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Least bytes of a second, on average: a slow client takes the turn of another.
const SLOWEST: u64 = 4096;

/// Time after the last write after which a file is taken for one of a process that has ended.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Bytes of the beginning that are kept to find the type by.
pub const HEAD: usize = 4096;

/// A file that was received. It is deleted when this is dropped, unless it was moved to its place.
#[derive(Debug)]
pub struct Received {
    path: PathBuf,
    file: Arc<File>,
    pub size: u64,
    /// The first bytes, [`HEAD`] at most.
    pub head: Bytes,
}

impl Received {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // One that was moved is not there.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a file was not received.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the file has more than {0} bytes")]
    TooLarge(u64),
    #[error("too many uploads are under way")]
    Busy,
    #[error("the file is empty")]
    Empty,
    #[error("the bytes came too slowly")]
    TooSlow,
    /// No client waits for an answer.
    #[error("the upload broke off")]
    Broken,
    #[error(transparent)]
    File(#[from] FileError),
}

impl Files {
    /// Receives a file of [`file_bytes`](Files::file_bytes) at most. Of one that is not whole nothing
    /// is left.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn receive(&self, mut body: Incoming) -> Result<Received, UploadError> {
        let most = self.file_bytes;
        if body.size_hint().lower() > most {
            return Err(UploadError::TooLarge(most));
        }
        let mut received = self.empty().await?;
        let began = Instant::now();
        let (mut gathered, mut head) = (BytesMut::new(), BytesMut::new());
        loop {
            let frame = timeout(PATIENCE, body.frame()).await;
            let frame = frame.map_err(|_| UploadError::TooSlow)?;
            let is_last = frame.is_none();
            let passed = began.elapsed();
            if passed > PATIENCE && received.size < SLOWEST * passed.as_secs() {
                return Err(UploadError::TooSlow);
            }
            if let Some(frame) = frame
                && let Ok(data) = frame.map_err(|_| UploadError::Broken)?.into_data()
            {
                received.size += u64::try_from(data.len()).unwrap_or(most);
                if received.size > most {
                    return Err(UploadError::TooLarge(most));
                }
                let wanted = HEAD.saturating_sub(head.len()).min(data.len());
                head.extend_from_slice(&data[..wanted]);
                gathered.extend_from_slice(&data);
            }
            if gathered.len() >= WRITTEN || is_last && !gathered.is_empty() {
                received.append(gathered.split().freeze()).await?;
            }
            if is_last {
                break;
            }
        }
        if received.size == 0 {
            return Err(UploadError::Empty);
        }
        received.head = head.freeze();
        Ok(received)
    }

    /// Writes a file of our own, which is then as one that was received.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn spooled(&self, bytes: Vec<u8>) -> Result<Received, FileError> {
        let mut file = self.empty().await?;
        file.size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        file.append(bytes.into()).await?;
        Ok(file)
    }

    async fn empty(&self) -> Result<Received, FileError> {
        let name = random::name().map_err(io::Error::other)?;
        let path = self.spool.join(name);
        let made = path.clone();
        let file = blocking(move || {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(made)
        });
        let file = match file.await {
            // The directory itself is gone.
            Err(FileError::Missing) => Err(FileError::Io(io::ErrorKind::NotFound.into())),
            file => file,
        };
        Ok(Received {
            path,
            file: Arc::new(file?),
            size: 0,
            head: Bytes::new(),
        })
    }

    /// Deletes what was being received by processes that are gone.
    pub async fn clear_spool(&self) {
        let spool = self.spool.clone();
        let cleared = blocking(move || {
            for entry in fs::read_dir(spool)? {
                let entry = entry?;
                let age = entry.metadata()?.modified()?.elapsed();
                if age.is_ok_and(|age| age > ABANDONED) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        });
        if let Err(error) = cleared.await {
            tracing::debug!(%error, "uploads that broke off are not deleted");
        }
    }
}

impl Received {
    async fn append(&self, bytes: Bytes) -> Result<(), FileError> {
        let file = Arc::clone(&self.file);
        blocking(move || (&*file).write_all(&bytes)).await
    }
}
