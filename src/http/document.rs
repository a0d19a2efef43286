//! An answer that is read from the store while it is sent, and so never held whole.
//!
//! An answer that has come to its end after its first step is sent with its length. The length of a
//! longer one is not known when its head goes out, so it is chunked on HTTP/1.1 and ended by the
//! close on HTTP/1.0; its bytes are those of a value that is rendered whole. The next step is read
//! when the connection has room for it and there is memory for it ([`Answers`]). What goes wrong
//! after the head breaks the body off before the value is closed: the framing of HTTP/1.1 tells,
//! and it never is well-formed JSON.
//!
//! `HEAD` tells the length that `GET` would have, for which the answer is read and counted; one
//! long answer at a time, as nothing of it is sent.

use std::{error::Error, future::Future};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{Body, Broken};
use crate::limits::{
    Meter,
    memory::{Answers, NoRoom, Share},
};

/// Content that is read and rendered in steps. A clone reads on from the same place.
pub trait DocumentSource: Clone + Send + 'static {
    type Error: Error + Send + Sync + 'static;

    /// Reads the next step; not to be called after the last.
    ///
    /// # Errors
    /// When it cannot be read or shown.
    fn next(&mut self) -> impl Future<Output = Result<DocumentStep, Self::Error>> + Send;
}

/// The next part of an answer.
pub struct DocumentStep {
    pub bytes: Vec<u8>,
    /// Rows that were read for it.
    pub rows: usize,
    pub is_last: bool,
}

/// Why a document cannot be answered, before its head has gone.
#[derive(Debug)]
pub enum Unopened<E> {
    Broken(E),
    NoRoom(NoRoom),
}

impl<E> From<E> for Unopened<E> {
    fn from(error: E) -> Self {
        Unopened::Broken(error)
    }
}

/// A document on its way to one client.
pub struct Document<S> {
    source: S,
    meter: Meter,
    share: Share,
    /// Bytes of the largest step so far, for which room is taken before the next one is read.
    size: usize,
    is_over: bool,
}

impl<S: DocumentSource> Document<S> {
    #[must_use]
    pub fn new(source: S, meter: &Meter, answers: &Answers) -> Self {
        Document {
            source,
            meter: meter.clone(),
            share: Share::new(meter.answer_pools(), answers.pool.clone()),
            size: 0,
            is_over: false,
        }
    }

    /// Returns the body, of which the first step has been read.
    ///
    /// # Errors
    /// [`Unopened`]
    pub async fn open(mut self) -> Result<Body, Unopened<S::Error>> {
        let mut lease = self.share.nothing();
        let bytes = self.step().await?;
        lease.fit(bytes.len()).map_err(Unopened::NoRoom)?;
        self.size = bytes.len();
        let first = lease.held_by(bytes);
        if self.is_over {
            return Ok(Body::new(first));
        }
        Ok(self.stream(first))
    }

    /// Returns the number of bytes that it has in all.
    ///
    /// # Errors
    /// [`Unopened::Broken`]
    pub async fn length(mut self, answers: &Answers) -> Result<u64, Unopened<S::Error>> {
        let mut length = self.step().await?.len();
        if !self.is_over {
            let _counting = answers.counting.acquire().await;
            while !self.is_over {
                length += self.step().await?.len();
            }
        }
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    fn stream(self, first: Bytes) -> Body {
        let frames = stream::try_unfold((self, Some(first)), |(mut rest, first)| async {
            let frame = match first {
                Some(first) => first,
                None if rest.is_over => return Ok(None),
                None => rest.next().await.inspect_err(|error| {
                    tracing::error!(%error, "an answer broke off");
                })?,
            };
            Ok::<_, S::Error>(Some((Frame::data(frame), (rest, None))))
        });
        Body::Stream(StreamBody::new(frames).map_err(Broken::new).boxed_unsync())
    }

    /// Returns the bytes of the next step, once there is room for them. A step that turns out to be
    /// larger than those before, where no more room is left, is let go of and read again when there
    /// is: an answer that waits holds neither room nor bytes.
    async fn next(&mut self) -> Result<Bytes, S::Error> {
        loop {
            let mut lease = self.share.take(self.size).await;
            let source = self.source.clone();
            let bytes = self.step().await?;
            let fits = lease.fit(bytes.len()).is_ok();
            self.size = self.size.max(bytes.len());
            if fits {
                return Ok(lease.held_by(bytes));
            }
            (self.source, self.is_over) = (source, false);
        }
    }

    async fn step(&mut self) -> Result<Vec<u8>, S::Error> {
        let step = self.source.next().await?;
        self.meter.charge_rows(step.rows);
        self.is_over = step.is_last;
        Ok(step.bytes)
    }
}
