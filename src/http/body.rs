//! The body of an answer: bytes of ours, a document of ours that is read while it is sent, or a
//! stream that is passed on from the upstream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};

use crate::{
    gateway::{Interrupted, Relayed},
    limits::memory::hold,
    service::ChatError,
    store::StoreError,
};

/// The body of every answer.
#[derive(Debug)]
pub enum Body {
    /// `None` once they have been sent, or if there are none.
    Ours(Option<Bytes>),
    Document(UnsyncBoxBody<Bytes, Broken>),
    Upstream(Relayed),
}

/// Why a body ends before its end. The client learns it from the framing, as the head has gone.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Upstream(#[from] Interrupted),
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// Python cannot hold a time in this server's zone, and REST framework does not show it: the last
    /// hours of the year 9999, and before the year 1. Test: `a_time_past_the_year_9999_is_a_400`.
    #[error("a time is out of the range of this server's zone")]
    Unshowable,
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Broken::Chat(error.into())
    }
}

impl Body {
    /// A body of ours.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Body::Ours(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// A body of ours that keeps something else until it has been sent.
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
            Body::Document(document) => Pin::new(document).poll_frame(cx),
            Body::Upstream(stream) => Pin::new(stream).poll_frame(cx).map_err(Broken::Upstream),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Ours(bytes) => bytes.is_none(),
            Body::Document(document) => document.is_end_stream(),
            Body::Upstream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Ours(bytes) => {
                let size = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(size).unwrap_or(u64::MAX))
            }
            Body::Document(document) => document.size_hint(),
            Body::Upstream(stream) => stream.size_hint(),
        }
    }
}
