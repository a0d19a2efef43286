//! The body of an answer: bytes of ours, or a stream. A document of ours is read while it is sent;
//! what another room passes on comes as it comes.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};

use crate::limits::memory::hold;

/// The body of every answer.
#[derive(Debug)]
pub enum Body {
    /// `None` once they have been sent, or if there are none.
    Ours(Option<Bytes>),
    Stream(UnsyncBoxBody<Bytes, Broken>),
}

/// Why a body ends before its end. The client learns it from the framing, as the head has gone.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Broken(Box<dyn Error + Send + Sync>);

impl Broken {
    #[must_use]
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Broken(why.into())
    }
}

impl Body {
    /// Makes a body of ours.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Body::Ours(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Makes a body that is passed on from elsewhere.
    #[must_use]
    pub fn passed<B>(body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Error + Send + Sync,
    {
        let body = body.map_err(Broken::new);
        Body::Stream(body.boxed_unsync())
    }

    /// Makes a body of ours that keeps something else until it has been sent.
    #[must_use]
    pub fn holding(self, kept: impl Send + 'static) -> Self {
        match self {
            Body::Ours(Some(bytes)) => Body::Ours(Some(hold(bytes, kept))),
            other => other,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::Ours(None)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Body::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Ours(bytes) => bytes.is_none(),
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Ours(bytes) => {
                let size = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(size).unwrap_or(u64::MAX))
            }
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}
