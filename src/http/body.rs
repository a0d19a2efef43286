//! The body of an answer: bytes of ours, a list of ours that is sent while it is read, or a stream
//! that is passed on from the upstream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};

use crate::{
    gateway::{Interrupted, Relayed},
    store::StoreError,
};

/// The body of every answer.
#[derive(Debug)]
pub enum Body {
    Ours(Full<Bytes>),
    Listing(UnsyncBoxBody<Bytes, Broken>),
    Upstream(Relayed),
}

/// Why a body ends before its end. The client learns it from the framing, as the head has gone.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Upstream(#[from] Interrupted),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`super::api`].
    #[error("a time is out of the range of this server's zone")]
    Unshowable,
}

impl Body {
    /// A body of ours.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Body::Ours(Full::new(bytes))
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::Ours(Full::default())
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
            Body::Ours(bytes) => Pin::new(bytes)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Body::Listing(list) => Pin::new(list).poll_frame(cx),
            Body::Upstream(stream) => Pin::new(stream).poll_frame(cx).map_err(Broken::Upstream),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Ours(bytes) => bytes.is_end_stream(),
            Body::Listing(list) => list.is_end_stream(),
            Body::Upstream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Ours(bytes) => bytes.size_hint(),
            Body::Listing(list) => list.size_hint(),
            Body::Upstream(stream) => stream.size_hint(),
        }
    }
}
