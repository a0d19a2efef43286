use std::time::Duration;

use bytes::BytesMut;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{Incoming, Reader, Violation};
use crate::ws::transfer::transfer;

/// Returns a masked frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first];
    let length = payload.len();
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        bytes.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(length) {
        bytes.push(0xfe);
        bytes.extend(medium.to_be_bytes());
    } else {
        bytes.push(0xff);
        bytes.extend((length as u64).to_be_bytes());
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Incoming>, Violation> {
    let mut reader = Reader::new(BytesMut::from(bytes), 1000);
    let mut all = Vec::new();
    while let Some(incoming) = reader.take_message()? {
        all.push(incoming);
    }
    Ok(all)
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

fn refused(bytes: &[u8]) -> bool {
    matches!(read(bytes), Err(Violation::Protocol(_)))
}

#[test]
fn frames_are_found_however_the_bytes_arrive() {
    let bytes = [
        frame(0x81, "안녕".as_bytes()),
        frame(0x89, b"p"),
        frame(0x81, b"b"),
    ]
    .concat();
    let mut reader = Reader::new(BytesMut::new(), 1000);
    let mut got = Vec::new();
    for byte in &bytes {
        reader.buffer.extend_from_slice(&[*byte]);
        while let Some(incoming) = reader.take_message().unwrap() {
            got.push(incoming);
        }
    }
    assert_eq!(
        got,
        [text("안녕"), Incoming::Ping(b"p".to_vec()), text("b")]
    );
}

#[test]
fn a_character_may_be_split_over_fragments_with_a_ping_between() {
    let word = "한".as_bytes();
    let bytes = [
        frame(0x01, &word[..1]),
        frame(0x89, b""),
        frame(0x80, &word[1..]),
    ]
    .concat();
    assert_eq!(read(&bytes).unwrap(), [Incoming::Ping(vec![]), text("한")]);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header_alone() {
    assert_eq!(read(&frame(0x81, &[b'x'; 1000])).unwrap().len(), 1);
    assert_eq!(
        read(&frame(0x81, &[b'x'; 1001])[..4]),
        Err(Violation::TooBig)
    );
    let huge = [0x81, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(read(&huge), Err(Violation::TooBig));
}

#[test]
fn fragments_are_added_up_against_the_limit() {
    let bytes = [frame(0x01, &[b'x'; 600]), frame(0x00, &[b'x'; 401])].concat();
    assert_eq!(read(&bytes), Err(Violation::TooBig));
}

#[test]
fn frames_that_break_the_protocol_are_refused() {
    let mut unmasked = frame(0x81, b"x");
    unmasked[1] &= 0x7f;
    assert!(refused(&unmasked), "unmasked");
    assert!(refused(&frame(0xc1, b"x")), "reserved bit");
    assert!(refused(&frame(0x83, b"x")), "reserved opcode");
    assert!(refused(&frame(0x8b, b"x")), "reserved control opcode");
    assert!(refused(&frame(0x80, b"x")), "continuation of nothing");
    assert!(
        refused(&[frame(0x01, b"x"), frame(0x81, b"x")].concat()),
        "message in a message"
    );
    assert!(refused(&frame(0x09, b"x")), "fragmented ping");
    assert!(refused(&frame(0x89, &[0; 126])), "long ping");
    assert!(refused(&frame(0x81, b"\xff")), "text that is not UTF-8");
    assert!(
        refused(&[0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0]),
        "two bytes for a short length"
    );
    assert!(
        refused(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]),
        "eight bytes for a short length"
    );
}

#[test]
fn a_close_frame_needs_a_code_that_may_be_sent() {
    assert_eq!(read(&frame(0x88, b"")).unwrap(), [Incoming::Close(None)]);
    for code in [1000u16, 1001, 1003, 1007, 1011, 3000, 4999] {
        assert_eq!(
            read(&frame(0x88, &code.to_be_bytes())).unwrap(),
            [Incoming::Close(Some(code))],
            "{code}"
        );
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1014, 1015, 2999, 5000, 65535] {
        assert!(refused(&frame(0x88, &code.to_be_bytes())), "{code}");
    }
    assert!(refused(&frame(0x88, b"\x03")), "half a code");
    assert!(
        refused(&frame(0x88, b"\x03\xe8\xff")),
        "reason that is not UTF-8"
    );
}

/// Texts that are no UTF-8: cut short, overlong, surrogates, past the last character, strays.
const BAD: [&[u8]; 10] = [
    b"a\x80",
    b"\xc3",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\x95z",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xff",
];

/// Returns the fragments of a text that is cut in two or three.
fn cut(text: &[u8], one: usize, two: usize) -> Vec<u8> {
    [
        frame(0x01, &text[..one]),
        frame(0x00, &text[one..two]),
        frame(0x80, &text[two..]),
    ]
    .concat()
}

#[test]
fn bad_utf8_is_refused_wherever_it_is_split_and_good_is_not() {
    let good = "a\u{e9}\u{d55c}\u{1f600}z".as_bytes();
    for one in 0..=good.len() {
        for two in one..=good.len() {
            let read = read(&cut(good, one, two)).unwrap();
            assert_eq!(read, [text("a\u{e9}\u{d55c}\u{1f600}z")]);
        }
    }
    for bad in BAD {
        for around in [[&b""[..], b""], [b"a", b""], [b"", b"z"], [good, good]] {
            let text = [around[0], bad, around[1]].concat();
            assert!(refused(&frame(0x81, &text)), "{text:x?}");
            for one in 0..=text.len() {
                for two in one..=text.len() {
                    let bytes = cut(&text, one, two);
                    assert!(refused(&bytes), "{text:x?} at {one} and {two}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_arrives_in_pieces_is_one_message_and_a_reader_at_rest_keeps_no_memory() {
    let (mut near, mut far) = tokio::io::duplex(7);
    let sent = frame(0x81, &[b'x'; 900]);
    let writing = tokio::spawn(async move { far.write_all(&sent).await });
    let mut reader = Reader::new(BytesMut::new(), 1000);
    let message = loop {
        if let Some(message) = reader.take_message().unwrap() {
            break message;
        }
        let early = timeout(Duration::ZERO, transfer(&mut near, Some(&mut reader), None)).await;
        if early.is_err() {
            let done = transfer(&mut near, Some(&mut reader), None).await;
            assert!(matches!(done.read, Some(Ok(1..))));
        }
    };
    assert_eq!(message, text(&"x".repeat(900)));
    reader.give_back();
    assert_eq!(reader.buffer.capacity(), 0);
    writing.await.unwrap().unwrap();
    let done = transfer(&mut near, Some(&mut reader), None).await;
    assert!(matches!(done.read, Some(Ok(0))), "the end");
}
