//! The bytes of attachments: received, examined, kept in a directory or in an S3, and read again.
//!
//! | | |
//! |---|---|
//! | [`turns`] | bounds the uploads under way |
//! | [`upload`] | takes the bytes of a request to a file of its own, with bounds |
//! | [`media`] | the type of content, by its first bytes |
//! | [`picture`] | the size of an image, and its thumbnail |
//! | [`directory`], [`s3`] | the two places |
//! | [`link`] | signs links that end, and checks them |

pub mod directory;
pub mod link;
pub mod media;
pub mod picture;
pub mod s3;
mod turns;
pub mod upload;

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};
use tokio::task::spawn_blocking;

use self::{directory::Directory, link::LinkSigner, picture::Pictures, s3::S3, turns::Turns};
use crate::{
    config::{Attachments, FilePlace, MediaRange},
    id::AttachmentId,
    random::{self, NoRandomness},
};

const MIB: u64 = 1024 * 1024;

/// The files of one server.
pub struct Files {
    place: Place,
    /// Directory of files that are being received.
    spool: PathBuf,
    pub turns: Turns,
    pub pictures: Pictures,
    pub links: LinkSigner,
    /// Most bytes of one file.
    pub file_bytes: u64,
    /// Most files of one message.
    pub per_message: usize,
    /// Most bytes of one user.
    pub user_bytes: u64,
    types: Vec<MediaRange>,
    pub unsent: Duration,
    pub sweep: Duration,
}

enum Place {
    Directory(Directory),
    S3(Box<S3>),
}

/// A file of an attachment: the upload itself, or its thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Whole,
    Thumbnail,
}

impl Variant {
    /// Returns the name of a file in its place.
    #[must_use]
    pub fn name(self, id: AttachmentId) -> String {
        match self {
            Variant::Whole => id.to_string(),
            Variant::Thumbnail => format!("{id}.thumbnail"),
        }
    }
}

/// Why the files cannot be used with these settings.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("attachments.place: {} {error}", path.display())]
    Directory { path: PathBuf, error: io::Error },
    #[error("attachments.s3_endpoint: {0}")]
    S3(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Why a file was not kept, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("there is no such file")]
    Missing,
    /// No room, neither now nor later, until an operator makes some.
    #[error("the place of the files is full")]
    Full,
    #[error("the place of the files cannot be used: {0}")]
    Io(io::Error),
    #[error("S3: {0}")]
    S3(String),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::Missing,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => FileError::Full,
            _ => FileError::Io(error),
        }
    }
}

/// A part of a file, from its first byte to its last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}

/// Bytes of a file as they come.
pub type FileStream = BoxStream<'static, Result<Bytes, FileError>>;

impl Files {
    /// Opens the place of the settings; `None` if there is none.
    ///
    /// # Errors
    /// When the directory cannot be made or written to, or the system gives no randomness. Whether an
    /// S3 answers is not asked.
    pub async fn open(settings: &Attachments) -> Result<Option<Self>, FilesError> {
        let (place, spool) = match &settings.place {
            None => return Ok(None),
            Some(FilePlace::Directory(path)) => {
                let directory = Directory::new(path.clone());
                let spool = directory.spool();
                (Place::Directory(directory), spool)
            }
            Some(FilePlace::S3 { bucket, prefix }) => {
                let s3 = S3::new(settings, bucket, prefix).map_err(FilesError::S3)?;
                let own = format!("chatferry-{}", random::name()?);
                (Place::S3(Box::new(s3)), std::env::temp_dir().join(own))
            }
        };
        let made = spool.clone();
        let making = spawn_blocking(move || directory::make(&made)).await;
        let made = making.map_err(io::Error::other).flatten();
        made.map_err(|error| FilesError::Directory {
            path: spool.clone(),
            error,
        })?;
        Ok(Some(Files {
            place,
            spool,
            turns: Turns::default(),
            pictures: Pictures::new(u64::from(settings.thumbnail_mib) * MIB),
            links: LinkSigner::new(settings.key.as_ref(), Duration::from_secs(settings.link_s))?,
            file_bytes: settings.file_mib * MIB,
            per_message: settings.per_message,
            user_bytes: settings.user_mib * MIB,
            types: settings.types.clone(),
            unsent: Duration::from_secs(settings.unsent_s),
            sweep: Duration::from_secs(settings.sweep_s),
        }))
    }

    /// Returns whether files of this type are taken.
    #[must_use]
    pub fn takes(&self, media_type: &str) -> bool {
        self.types.iter().any(|range| range.has(media_type))
    }

    /// Moves a received file to its place. It is there for good when this returns.
    ///
    /// # Errors
    /// When it cannot be written there; nothing of it is left, or something that is written over by
    /// the next try.
    pub async fn keep(
        &self,
        id: AttachmentId,
        variant: Variant,
        file: &upload::Received,
    ) -> Result<(), FileError> {
        match &self.place {
            Place::Directory(directory) => directory.keep(&variant.name(id), file).await,
            Place::S3(s3) => s3.put(&variant.name(id), file).await,
        }
    }

    /// Writes a small file under an id that nothing has, and deletes it.
    ///
    /// # Errors
    /// When the place cannot be used.
    pub async fn probe(&self, id: AttachmentId) -> Result<(), FileError> {
        let file = self.spooled(b"chatferry".to_vec()).await?;
        self.keep(id, Variant::Whole, &file).await?;
        self.delete(id).await
    }

    /// Reads a file, or a part of it.
    ///
    /// # Errors
    /// [`FileError::Missing`] if it is not there, or when it cannot be read.
    pub async fn read(
        &self,
        id: AttachmentId,
        variant: Variant,
        range: Option<ByteRange>,
    ) -> Result<OpenFile, FileError> {
        match &self.place {
            Place::Directory(directory) => directory.read(&variant.name(id), range).await,
            Place::S3(s3) => s3.get(&variant.name(id), range).await,
        }
    }

    /// Deletes what there is of an attachment.
    ///
    /// # Errors
    /// When something of it may still be there.
    pub async fn delete(&self, id: AttachmentId) -> Result<(), FileError> {
        for variant in [Variant::Thumbnail, Variant::Whole] {
            let deleted = match &self.place {
                Place::Directory(directory) => directory.delete(&variant.name(id)).await,
                Place::S3(s3) => s3.delete(&variant.name(id)).await,
            };
            match deleted {
                Ok(()) | Err(FileError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A file that is being read.
pub struct OpenFile {
    /// Bytes of the whole file.
    pub size: u64,
    /// Those that were asked for.
    pub bytes: FileStream,
}

impl OpenFile {
    fn new(
        size: u64,
        bytes: impl Stream<Item = Result<Bytes, FileError>> + Send + 'static,
    ) -> Self {
        OpenFile {
            size,
            bytes: Box::pin(bytes),
        }
    }
}
