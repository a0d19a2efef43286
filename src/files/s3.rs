//! Files in an S3. Each request has a connection of its own, an address that is signed for it, and a time
//! limit; bodies stream both ways.

use std::{
    fs::File,
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::time::timeout;

use super::{ByteRange, FileError, OpenFile, directory::blocking, upload::Received};
use crate::{
    config::{Attachments, Secret},
    net::client::{ClientConnection, TlsName, is_tls, request, whole},
    tls::{Authorities, Trust, client_config},
};

/// For which an address is good.
const SIGNED: Duration = Duration::from_secs(60);

/// Longest wait for a connection, and for the head of an answer to a request without a body.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest time in which a file is sent, for each MiB of it and besides.
const SENDING: Duration = Duration::from_secs(30);

/// Bytes that are read of a file at a time.
const CHUNK: usize = 128 * 1024;

/// Most bytes of an error that are read for the log.
const ERROR: usize = 4096;

type Upload = UnsyncBoxBody<Bytes, io::Error>;

/// A bucket, and a prefix of its keys.
pub struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
}

impl S3 {
    /// # Errors
    /// When the address of the settings is none.
    pub fn new(settings: &Attachments, bucket: &str, prefix: &str) -> Result<Self, String> {
        let endpoint = settings.s3_endpoint.as_ref().map_or("", |it| it.as_str());
        let endpoint = endpoint.parse().map_err(|_| "no address".to_owned())?;
        let region = settings.s3_region.clone();
        let bucket = Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), region);
        let text = |key: &Option<Secret>| key.as_ref().map_or("", Secret::expose).to_owned();
        let keys = (text(&settings.s3_access_key), text(&settings.s3_secret_key));
        Ok(S3 {
            bucket: bucket.map_err(|error| error.to_string())?,
            credentials: Credentials::new(keys.0, keys.1),
            prefix: prefix.to_owned(),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Stores a file. It is there for good when this returns.
    ///
    /// # Errors
    /// When the S3 does not confirm it.
    pub async fn put(&self, name: &str, file: &Received) -> Result<(), FileError> {
        let key = self.key(name);
        let put = self.bucket.put_object(Some(&self.credentials), &key);
        let url = address(put.sign(SIGNED).as_str())?;
        let path = file.path().to_owned();
        let opened = blocking(move || File::open(path)).await?;
        let chunks = stream::try_unfold(opened, |mut file| async move {
            let read = blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk)?;
                chunk.truncate(read);
                Ok((chunk, file))
            });
            match read.await {
                Ok((chunk, _)) if chunk.is_empty() => Ok(None),
                Ok((chunk, file)) => Ok(Some((Frame::data(Bytes::from(chunk)), file))),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        let body: Upload = StreamBody::new(chunks).boxed_unsync();
        let head = request(Method::PUT, &url).header(CONTENT_LENGTH, file.size);
        let seconds = u32::try_from(file.size >> 20)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let sent = self.send(&url, head, body, SENDING.saturating_mul(seconds));
        let (response, _connection) = sent.await?;
        finished(response).await
    }

    /// Reads a file, or a part of it.
    ///
    /// # Errors
    /// [`FileError::Missing`], or when the S3 does not answer.
    pub async fn get(&self, name: &str, range: Option<ByteRange>) -> Result<OpenFile, FileError> {
        let key = self.key(name);
        let get = self.bucket.get_object(Some(&self.credentials), &key);
        let url = address(get.sign(SIGNED).as_str())?;
        let mut head = request(Method::GET, &url);
        if let Some(ByteRange { first, last }) = range {
            head = head.header(RANGE, format!("bytes={first}-{last}"));
        }
        let (response, connection) = self.send(&url, head, nothing(), ANSWER).await?;
        let expected = if range.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        };
        if response.status() != expected {
            return match finished(response).await {
                Ok(()) => Err(FileError::S3("it does not know ranges".into())),
                Err(error) => Err(error),
            };
        }
        let size = size_of(&response).ok_or(FileError::S3("an answer without a size".into()))?;
        let frames = BodyStream::new(response.into_body());
        let bytes = frames.map(move |frame| {
            // The connection is closed with the stream.
            let _ = &connection;
            let frame = frame.map_err(|error| FileError::S3(error.to_string()))?;
            Ok(frame.into_data().unwrap_or_default())
        });
        Ok(OpenFile::new(size, bytes.into_stream()))
    }

    /// # Errors
    /// When the S3 does not confirm it. It confirms what was not there, too.
    pub async fn delete(&self, name: &str) -> Result<(), FileError> {
        let key = self.key(name);
        let delete = self.bucket.delete_object(Some(&self.credentials), &key);
        let url = address(delete.sign(SIGNED).as_str())?;
        let head = request(Method::DELETE, &url);
        let (response, _connection) = self.send(&url, head, nothing(), ANSWER).await?;
        finished(response).await
    }

    async fn send(
        &self,
        url: &Uri,
        head: hyper::http::request::Builder,
        body: Upload,
        patience: Duration,
    ) -> Result<(Response<Incoming>, ClientConnection<Upload>), FileError> {
        let failed = |error: &dyn std::fmt::Display| FileError::S3(error.to_string());
        let request = head.body(body).map_err(|error| failed(&error))?;
        let tls = if is_tls(url) {
            Some(tls_to(url).await?)
        } else {
            None
        };
        let opened = timeout(ANSWER, ClientConnection::open(url, tls.as_ref())).await;
        let opened = opened.map_err(|_| FileError::S3("connecting took too long".into()))?;
        let mut connection = opened.map_err(|error| failed(&error))?;
        let answer = timeout(patience, connection.send(request)).await;
        let answer = answer.map_err(|_| FileError::S3("it does not answer".into()))?;
        Ok((answer.map_err(|error| failed(&error))?, connection))
    }
}

fn address(signed: &str) -> Result<Uri, FileError> {
    let address = signed.parse();
    address.map_err(|_| FileError::S3("its address is none".into()))
}

fn nothing() -> Upload {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads certificates anew: trust that is kept would take memory all the time.
async fn tls_to(url: &Uri) -> Result<TlsName, FileError> {
    let failed = |error: &dyn std::fmt::Display| FileError::S3(error.to_string());
    let authorities = tokio::task::spawn_blocking(|| Authorities::read(None)).await;
    let authorities = authorities.map_err(|error| failed(&error))?;
    let authorities = authorities.map_err(|error| failed(&error))?;
    let config = client_config(Trust::Name(authorities), None).map_err(|error| failed(&error))?;
    TlsName::new(url.host().unwrap_or_default(), config).map_err(|error| failed(&error))
}

/// Returns the bytes of the whole file that an answer has all or a part of.
fn size_of(response: &Response<Incoming>) -> Option<u64> {
    let headers = response.headers();
    let text = match headers.get(CONTENT_RANGE) {
        Some(range) => range.to_str().ok()?.rsplit('/').next()?,
        None => headers.get(CONTENT_LENGTH)?.to_str().ok()?,
    };
    text.parse().ok()
}

/// Reads an answer to its end.
///
/// # Errors
/// When it is no success.
async fn finished(response: Response<Incoming>) -> Result<(), FileError> {
    let status = response.status();
    let text = timeout(ANSWER, whole(response.into_body(), ERROR)).await;
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Err(FileError::Missing),
        StatusCode::INSUFFICIENT_STORAGE => Err(FileError::Full),
        _ => {
            let text = text.ok().flatten().unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            Err(FileError::S3(format!("{status}: {}", text.escape_debug())))
        }
    }
}
