//! Reading and writing of one stream side by side. The task of a socket owns the whole stream: no
//! lock is between the two halves.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{heartbeat::Heartbeat, reader::Reader, writer::Writer};
use crate::metrics::Metrics;

/// Outcome of a transfer: at least one of the two was done.
#[derive(Debug)]
pub struct Transferred {
    /// Number of bytes that have come; 0 is the end.
    pub read: Option<io::Result<usize>>,
    /// Something was written.
    pub written: Option<io::Result<()>>,
}

impl Transferred {
    /// Notes in the parts of a socket what was read and written. Returns whether the peer is gone.
    pub fn note(self, heartbeat: &mut Heartbeat, writer: &mut Writer, metrics: &Metrics) -> bool {
        let is_lost = matches!(self.read, Some(Ok(0) | Err(_)));
        if self.read.is_some() && !is_lost {
            heartbeat.heard(Instant::now());
        }
        if let Some(written) = self.written {
            metrics.frames_out(&mut writer.news);
            if written.is_err() {
                // All that the peer said before is still read.
                *writer = Writer::default();
            }
        }
        is_lost
    }
}

/// Reads what has come, as far as there is a reader, and writes as much as the stream takes, as far
/// as there is a writer; returns as soon as one of the two got somewhere. May be cancelled: what
/// was read is in the reader, and what was written is known to the writer.
pub async fn transfer<S>(
    stream: &mut S,
    mut reader: Option<&mut Reader>,
    mut writer: Option<&mut Writer>,
) -> Transferred
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut both = |cx: &mut Context<'_>| Transferred {
        read: reader
            .as_mut()
            .and_then(|reader| ready(reader.poll_read(Pin::new(stream), cx))),
        written: writer
            .as_mut()
            .and_then(|writer| ready(writer.poll_write(Pin::new(stream), cx))),
    };
    poll_fn(|cx| match both(cx) {
        Transferred {
            read: None,
            written: None,
        } => Poll::Pending,
        done => Poll::Ready(done),
    })
    .await
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::ws::{reader::Incoming, writer::text_frame};

    #[tokio::test]
    async fn one_that_waits_does_not_hold_up_the_other() {
        let (mut near, mut far) = duplex(1024);
        let mut reader = Reader::new(BytesMut::new(), 1024);
        let mut writer = Writer::default();
        writer.push(text_frame(|out| out.extend(b"out")));
        let done = transfer(&mut near, Some(&mut reader), Some(&mut writer)).await;
        assert!(done.read.is_none() && matches!(done.written, Some(Ok(()))));
        assert!(writer.is_empty());
        far.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'i', b'n'])
            .await
            .unwrap();
        let done = transfer(&mut near, Some(&mut reader), None).await;
        assert!(matches!(done.read, Some(Ok(8))) && done.written.is_none());
        let text = Incoming::Text("in".to_owned());
        assert_eq!(reader.take_message().unwrap(), Some(text));
        let mut frame = [0; 5];
        far.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, *b"\x81\x03out");
    }

    #[tokio::test]
    async fn both_are_done_at_once_if_both_can_be() {
        let (mut near, mut far) = duplex(1024);
        let mut reader = Reader::new(BytesMut::new(), 1024);
        let mut writer = Writer::default();
        writer.push(text_frame(|out| out.extend(b"out")));
        far.write_all(b"x").await.unwrap();
        let done = transfer(&mut near, Some(&mut reader), Some(&mut writer)).await;
        assert!(matches!(
            (done.read, done.written),
            (Some(Ok(1)), Some(Ok(())))
        ));
    }
}
