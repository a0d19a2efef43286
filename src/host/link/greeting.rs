//! The first messages of a connection: who joins, and over TCP that both ends know one secret.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::LinkError;
use crate::{
    host::{
        Host,
        proof::Challenge,
        wire::{self, Down, Hello, VERSION, What, WorkerMessage},
    },
    layer::redis::codec::item::Item,
    value::Value,
};

/// Time for a worker's first message.
const GREETING: Duration = Duration::from_secs(10);

/// Most bytes that are kept of somebody who has not greeted.
const UNGREETED: usize = 128 << 10;

/// A worker that may join.
pub(super) struct Greeted {
    pub hello: Hello,
    /// Bytes that came after its greeting.
    pub buffer: BytesMut,
    /// Our own proof, if it has had to give one.
    pub proof: Option<Vec<u8>>,
}

/// Reads the first message, and challenges who sends it if need be.
pub(super) async fn greet(
    half: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    challenge: Option<&Challenge>,
) -> Result<Greeted, LinkError> {
    let greeting = async {
        if let Some(challenge) = challenge {
            let mut message = BytesMut::new();
            wire::put(&mut message, Down::Challenge, 0, &challenge.body());
            write.write_all(&message).await?;
        }
        let mut buffer = BytesMut::new();
        let hello = read(half, &mut buffer).await?;
        let answer = challenge.map(|it| it.answer(&hello).ok_or(LinkError::Proof));
        let proof = answer.transpose()?;
        if hello.version != VERSION {
            return Err(LinkError::Version(hello.version));
        }
        Ok(Greeted {
            hello,
            buffer,
            proof,
        })
    };
    let greeted = timeout(GREETING, greeting).await;
    greeted.unwrap_or(Err(LinkError::Greeting))
}

async fn read(
    half: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Hello, LinkError> {
    loop {
        match wire::take(buffer)? {
            Some(WorkerMessage {
                what: What::Hello(hello),
                ..
            }) => return Ok(hello),
            None if buffer.len() <= UNGREETED => {}
            _ => return Err(LinkError::Greeting),
        }
        buffer.reserve(4096);
        if half.read_buf(buffer).await? == 0 {
            return Err(LinkError::Closed);
        }
    }
}

/// Makes the body of the first message to a worker.
pub(super) fn welcome(host: &Host, number: u64, proof: Option<Vec<u8>>) -> Vec<u8> {
    let int = |number: u64| Item::Plain(Value::Int(number.into()));
    let text = |text: String| Item::Plain(text.into());
    let mut members = vec![
        ("version", int(VERSION)),
        ("worker", int(number)),
        ("prefix", text(host.prefix().to_owned())),
        ("capacity", int(host.capacity() as u64)),
        ("expiry", int(host.expiry())),
        ("group_expiry", int(host.group_expiry())),
    ];
    members.extend(proof.map(|proof| ("proof", Item::Bytes(proof))));
    wire::map(members)
}
