//! A request as the handlers see it: path decoded, headers as text, body read.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Body, Incoming},
    header::{self, HeaderName},
    http::request::Parts,
};

use crate::{
    limits::{
        Meter,
        bodies::{Bodies, NoBodyRoom, PoolRoom},
    },
    python::{urls::decode_path, wsgi::meta_value},
};

/// Bytes up to which a body is read whatever else is under way.
const SMALL: usize = 64 * 1024;

/// Longest wait for the next bytes of a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// A request, whole.
#[derive(Debug)]
pub struct Request {
    /// In upper case, as Django compares it.
    pub method: String,
    /// As it was sent, for Twisted, which does not take `post` for `POST`.
    pub sent_method: String,
    /// Percent-decoded.
    pub path: String,
    /// Without the `?`; `None` if there was none.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Share of a large body in the memory for all bodies, held until the answer.
    room: PoolRoom,
    /// Limits of the client.
    pub meter: Meter,
    /// As whom the client is known, once that is found out.
    pub user: OnceLock<Arc<str>>,
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Bytes in the path or query that are not ASCII: Twisted's bare 400.
    Target,
    /// The body has more than 64 MiB, or than all bodies may take together: 413.
    TooLarge,
    /// The body came too slowly: 408.
    TooSlow,
    /// Other large bodies leave no room for the body: 503.
    NoRoom,
    /// The body broke off, or its framing is wrong: no client waits for an answer.
    Broken,
}

impl Request {
    /// Reads the body.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub async fn read(head: Parts, body: Incoming, bodies: &Bodies) -> Result<Self, Unreadable> {
        let mut request = Request::without_body(head)?;
        (request.body, request.room) = read_body(body, bodies).await?;
        Ok(request)
    }

    /// Returns the body's share of the memory for all bodies.
    #[must_use]
    pub fn into_room(self) -> Option<impl Send + 'static> {
        self.room
    }

    /// Makes a request that has no body, or none that was read.
    ///
    /// # Errors
    /// [`Unreadable::Target`].
    pub fn without_body(head: Parts) -> Result<Self, Unreadable> {
        let target = head
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        if !target.is_ascii() {
            return Err(Unreadable::Target);
        }
        // An address with scheme and host is nothing that Daphne routes.
        let path = if head.uri.scheme().is_some() {
            String::new()
        } else {
            decode_path(head.uri.path())
        };
        Ok(Request {
            method: head.method.as_str().to_uppercase(),
            sent_method: head.method.to_string(),
            path,
            query: head.uri.query().map(str::to_owned),
            meter: head.extensions.get::<Meter>().cloned().unwrap_or_default(),
            headers: head.headers,
            body: Bytes::new(),
            room: None,
            user: OnceLock::new(),
        })
    }

    /// Returns all values of a header joined by `,`, as WSGI hands them to Django.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<String> {
        meta_value(&self.values(name))
    }

    /// Returns the values of a header, one for each time it was sent.
    #[must_use]
    pub fn values(&self, name: &HeaderName) -> Vec<&[u8]> {
        self.headers
            .get_all(name)
            .iter()
            .map(header::HeaderValue::as_bytes)
            .collect()
    }
}

async fn read_body<B>(mut body: B, bodies: &Bodies) -> Result<(Bytes, PoolRoom), Unreadable>
where
    B: Body<Data = Bytes> + Unpin,
{
    // The header that says that it is too large need not come first.
    if body.size_hint().lower() > u64::try_from(bodies.max()).unwrap_or(u64::MAX) {
        return Err(Unreadable::TooLarge);
    }
    let (mut whole, mut room) = (BytesMut::new(), None);
    loop {
        let frame = tokio::time::timeout(BODY_PATIENCE, body.frame())
            .await
            .map_err(|_| Unreadable::TooSlow)?;
        let Some(frame) = frame else {
            return Ok((whole.freeze(), room));
        };
        let Ok(data) = frame.map_err(|_| Unreadable::Broken)?.into_data() else {
            continue;
        };
        let size = whole.len() + data.len();
        if size > bodies.max() {
            return Err(Unreadable::TooLarge);
        }
        if size > SMALL {
            bodies
                .grow(&mut room, size)
                .map_err(|NoBodyRoom| Unreadable::NoRoom)?;
        }
        whole.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;
    use crate::limits::bodies::BODY_MAX;

    /// Some bytes, and then nothing for ever.
    struct Stalled(Option<Bytes>);

    impl Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_not_waited_for_long() {
        let began = tokio::time::Instant::now();
        let read = read_body(Stalled(Some(Bytes::from_static(b"{"))), &Bodies::new(8)).await;
        assert_eq!(read.unwrap_err(), Unreadable::TooSlow);
        assert_eq!(began.elapsed(), BODY_PATIENCE);
    }

    #[tokio::test]
    async fn a_body_of_unknown_size_is_read_up_to_the_limit() {
        let (small, large) = (Bodies::new(8), Bodies::new(256));
        for (bodies, max) in [(&small, 8 * MIB), (&large, BODY_MAX)] {
            let body = Stalled(Some(Bytes::from(vec![0; max + 1])));
            let read = read_body(body, bodies).await;
            assert_eq!(read.unwrap_err(), Unreadable::TooLarge);
        }
        let (bytes, _) = read_body(body(8 * MIB), &small).await.unwrap();
        assert_eq!(bytes.len(), 8 * MIB);
    }

    #[tokio::test]
    async fn a_body_that_can_never_fit_is_too_large_before_it_is_read() {
        let bodies = Bodies::new(8);
        let read = read_body(body(8 * MIB + 1), &bodies).await;
        assert_eq!(read.unwrap_err(), Unreadable::TooLarge);
        assert!(read_body(body(8 * MIB), &bodies).await.is_ok());
    }

    #[tokio::test]
    async fn large_bodies_share_what_room_there_is_and_small_ones_need_none() {
        let bodies = Bodies::new(8);
        let (_, one) = read_body(body(5 * MIB), &bodies).await.unwrap();
        let refused = read_body(body(5 * MIB), &bodies).await;
        assert_eq!(refused.unwrap_err(), Unreadable::NoRoom);
        assert!(read_body(body(SMALL), &bodies).await.unwrap().1.is_none());
        drop(one);
        assert!(read_body(body(5 * MIB), &bodies).await.is_ok());
    }

    const MIB: usize = 1024 * 1024;

    fn body(size: usize) -> http_body_util::Full<Bytes> {
        http_body_util::Full::new(Bytes::from(vec![b' '; size]))
    }
}
