//! The PROXY protocol, versions 1 and 2: a header in front of everything in which a proxy says whom
//! it speaks for (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::{io, net::IpAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line of version 1, its end included.
const LINE_MAX: usize = 107;

/// Bytes that every header of version 2 has: signature, command, family, length.
const FIXED: usize = 16;

/// Most bytes after that; addresses take 36, and the rest is what proxies like to add.
const REST_MAX: usize = 4096;

/// Why a connection has no client.
#[derive(Debug, thiserror::Error)]
pub enum ProxyRefusal {
    #[error("no PROXY header")]
    Absent,
    #[error("a PROXY header that cannot be read")]
    Malformed,
    #[error("a PROXY header that is too long")]
    TooLong,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header and nothing behind it. `None` if the proxy speaks for itself, as it does to
/// check our health.
///
/// # Errors
/// See [`ProxyRefusal`]: the connection is of no use.
pub async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyRefusal> {
    // Both versions have at least as many.
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    socket.read_exact(&mut header).await?;
    let source = if header == v2::PROTOCOL_PREFIX {
        second(socket, header).await?
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        first(socket, header).await?
    } else {
        return Err(ProxyRefusal::Absent);
    };
    Ok(source.map(|it| it.to_canonical()))
}

async fn first(
    socket: &mut (impl AsyncRead + Unpin),
    mut line: Vec<u8>,
) -> Result<Option<IpAddr>, ProxyRefusal> {
    // Byte by byte: what follows is not ours to take.
    while !line.ends_with(b"\n") {
        if line.len() == LINE_MAX {
            return Err(ProxyRefusal::TooLong);
        }
        line.push(socket.read_u8().await?);
    }
    let header = v1::Header::try_from(&line[..]).map_err(|_| ProxyRefusal::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    })
}

async fn second(
    socket: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, ProxyRefusal> {
    header.resize(FIXED, 0);
    socket
        .read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..])
        .await?;
    let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if rest > REST_MAX {
        return Err(ProxyRefusal::TooLong);
    }
    header.resize(FIXED + rest, 0);
    socket.read_exact(&mut header[FIXED..]).await?;
    let header = v2::Header::try_from(&header[..]).map_err(|_| ProxyRefusal::Malformed)?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
            Some(addresses.source_address.into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
            Some(addresses.source_address.into())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is read of these bytes, and the rest.
    async fn read_all(bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let mut rest = bytes;
        let found = read(&mut rest).await;
        let found = found.map(|it| it.map(|it| it.to_string()));
        (found.map_err(|error| error.to_string()), rest.to_vec())
    }

    /// Returns a header of version 2 with this command, family and addresses.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v4_and_more = v4.to_vec();
        v4_and_more.extend([4, 0, 1, 42]);
        let mut v6 = [0; 36];
        v6[15] = 1;
        for (header, client) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(),
                Some("192.0.2.1"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 4660 80\r\n".to_vec(),
                Some("2001:db8::1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), Some("192.0.2.1")),
            (binary(0x21, 0x11, &v4_and_more), Some("192.0.2.1")),
            (binary(0x21, 0x21, &v6), Some("::1")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let (found, rest) = read_all(&[&header[..], b"GET / HTTP/1.1"].concat()).await;
            assert_eq!(found, Ok(client.map(str::to_owned)), "{header:?}");
            assert_eq!(rest, b"GET / HTTP/1.1");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no PROXY header"),
            (
                b"PROXY TCP4 here there 1 2\r\n".to_vec(),
                "a PROXY header that cannot be read",
            ),
            (
                b"PROXY TCP4 1.1.1.1\n".to_vec(),
                "a PROXY header that cannot be read",
            ),
            (b"PROXY ".repeat(99), "a PROXY header that is too long"),
            (
                binary(0x31, 0x11, &[0; 12]),
                "a PROXY header that cannot be read",
            ),
            (
                binary(0x21, 0x11, &[0; 3]),
                "a PROXY header that cannot be read",
            ),
            (
                binary(0x21, 0x11, &[0; 5000]),
                "a PROXY header that is too long",
            ),
        ] {
            assert_eq!(read_all(&bytes).await.0, Err(why.to_owned()), "{bytes:?}");
        }
        for broken_off in [
            &b""[..],
            b"PROXY TCP4 1",
            &binary(0x21, 0x11, &[0; 12])[..20],
        ] {
            let mut rest = broken_off;
            assert!(matches!(read(&mut rest).await, Err(ProxyRefusal::Io(_))));
        }
    }

    #[tokio::test]
    async fn no_bytes_are_ever_too_strange() {
        let mut random = 1u32;
        for start in [v2::PROTOCOL_PREFIX, b"PROXY ", b"PROXY TCP4 "] {
            for _ in 0..5000 {
                let noise = (0..64).map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    random.to_be_bytes()[0]
                });
                let bytes: Vec<u8> = start.iter().copied().chain(noise).collect();
                let _ = read_all(&bytes).await;
            }
        }
    }
}
