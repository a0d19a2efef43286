use super::*;
use crate::{host::proof::Challenge, value::Value};

/// Returns the messages of one side: kind and bytes.
fn vectors(side: &str) -> Vec<(String, Vec<u8>)> {
    let lines = include_str!("vectors.txt").lines();
    let lines = lines.filter(|line| line.starts_with(side));
    let vectors = lines.map(|line| {
        let mut parts = line.split(' ').skip(1);
        let kind = parts.next().unwrap().to_owned();
        let hex = parts.next().unwrap();
        let digits: Vec<u32> = hex.chars().map(|it| it.to_digit(16).unwrap()).collect();
        let bytes = digits
            .chunks(2)
            .map(|it| u8::try_from(it[0] << 4 | it[1]).unwrap());
        (kind, bytes.collect())
    });
    vectors.collect()
}

/// Returns the body of the one message of Chatferry's of a kind.
pub fn body(kind: &str) -> Vec<u8> {
    let mut vectors = vectors("chatferry").into_iter();
    let (_, bytes) = vectors.find(|(name, _)| name == kind).unwrap();
    bytes[4 + HEAD..].to_vec()
}

fn take_all(bytes: &[u8]) -> Result<Vec<WorkerMessage>, WireError> {
    let mut buffer = BytesMut::from(bytes);
    let mut all = Vec::new();
    while let Some(message) = take(&mut buffer)? {
        all.push(message);
    }
    Ok(all)
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(HEAD + body.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.push(kind);
    bytes.extend(5u64.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn every_message_of_a_worker_is_read() {
    let vectors = vectors("worker");
    assert_eq!(vectors.len(), Up::ALL.len(), "one for each kind");
    let event =
        Bytes::from_static(b"\x82\xa4type\xacchat.message\xa7message\xa6\xec\x95\x88\xeb\x85\x95");
    let room = || ("room".to_owned(), "specific.x!s5".to_owned());
    let want = [
        What::Hello(Hello {
            version: 3,
            pid: 7,
            application: "a.asgi:app".to_owned(),
            layer: String::new(),
            order: None,
            proof: None,
        }),
        What::Class(Class {
            name: "app.Chat".to_owned(),
            parked: true,
            why: String::new(),
            source: "5f".to_owned(),
            once: vec!["chat_message".to_owned()],
        }),
        What::Serves(1),
        What::Accept(Accept {
            subprotocol: Some("chat".to_owned()),
            headers: vec![(b"x-a".to_vec(), b"1".to_vec())],
        }),
        What::Text("안녕".into()),
        What::Binary(Bytes::from_static(&[0, 255])),
        What::Close {
            code: 4001,
            reason: "bye".to_owned(),
        },
        What::Done,
        What::Ended { failed: true },
        What::GroupAdd {
            group: room().0,
            channel: room().1,
        },
        What::GroupDiscard {
            group: room().0,
            channel: room().1,
        },
        What::GroupSend {
            group: room().0,
            event: event.clone(),
        },
        What::Send {
            channel: room().1,
            event,
        },
        What::Pong,
        What::State(b"\x81\xa7version\x01"[..].into()),
        What::Refused("it is awake".to_owned()),
        What::Response(ResponseHead {
            status: 200,
            headers: vec![(b"x-a".to_vec(), b"1".to_vec())],
        }),
        What::Body("<p>".into()),
        What::BodyEnd("</p>".into()),
        What::Taken(512),
    ];
    for ((kind, bytes), want) in vectors.iter().zip(want) {
        let messages = take_all(bytes).unwrap();
        assert_eq!(messages.len(), 1, "{kind}");
        assert_eq!(messages[0].what, want, "{kind}");
        // However it comes.
        let mut buffer = BytesMut::new();
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(take(&mut buffer), Ok(None), "{kind} at {place}");
            buffer.extend_from_slice(&[*byte]);
        }
        assert!(take(&mut buffer).unwrap().is_some());
    }
    let together: Vec<u8> = vectors.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(take_all(&together).unwrap().len(), Up::ALL.len());
}

#[test]
fn what_is_sent_to_a_worker_has_the_bytes_of_the_vectors() {
    let int = |number: u64| Item::Plain(Value::Int(number.into()));
    let text = |text: &str| Item::Plain(text.into());
    let welcome = map(vec![
        ("version", int(3)),
        ("worker", int(3)),
        ("prefix", text("specific.x!")),
        ("capacity", int(100)),
        ("expiry", int(60)),
        ("group_expiry", int(86400)),
    ]);
    let full = map(vec![
        ("kind", text("full")),
        ("text", text("the channel specific.x!s5 is full")),
    ]);
    // A test of the scope makes it.
    let open = body("OPEN");
    let event = b"\x82\xa4type\xacchat.message\xa7message\xa6\xec\x95\x88\xeb\x85\x95";
    let request = map(vec![
        ("type", text("http")),
        ("method", text("GET")),
        ("path", text("/")),
    ]);
    let challenge = Challenge::known().body();
    let sent: [(Down, u64, &[u8]); 20] = [
        (Down::Welcome, 0, &welcome),
        (Down::Open, 5, &open),
        (Down::Text, 5, "안녕".as_bytes()),
        (Down::Binary, 5, &[0, 255]),
        (Down::Event, 5, event),
        (Down::Closed, 5, &[0xcd, 0x03, 0xe9]),
        (Down::Closed, 6, &[0xc0]),
        (Down::Channel, 2, event),
        (Down::Answer, 9, b""),
        (Down::Answer, 12, &full),
        (Down::Forget, 5, b""),
        (Down::Ping, 0, b""),
        (Down::Wake, 5, b"\x81\xa7version\x01"),
        (Down::Sleep, 5, b""),
        (Down::Request, 8, &request),
        (Down::Body, 8, b"a=1"),
        (Down::BodyEnd, 8, b""),
        (Down::Gone, 8, b""),
        (Down::Taken, 8, &[0xcd, 0x80, 0x00]),
        (Down::Challenge, 0, &challenge),
    ];
    let vectors = vectors("chatferry");
    assert_eq!(vectors.len(), sent.len());
    let known: Vec<u8> = vectors.iter().map(|(_, bytes)| bytes[4]).collect();
    assert!(Down::ALL.iter().all(|kind| known.contains(&(*kind as u8))));
    for ((name, want), (kind, subject, body)) in vectors.into_iter().zip(sent) {
        let mut out = BytesMut::new();
        put(&mut out, kind, subject, body);
        assert_eq!(out[..], want[..], "{name}");
    }
}

#[test]
fn what_is_too_long_is_refused_by_its_head() {
    let head = |kind: u8, length: u32| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(kind);
        bytes
    };
    for (kind, most) in [
        (Up::Hello, MAX_OTHER),
        (Up::Text, MAX_FRAME),
        (Up::GroupSend, MAX_EVENT + 1024),
        (Up::Done, 0),
        (Up::State, MAX_OTHER),
        (Up::BodyEnd, MAX_PART),
    ] {
        let length = u32::try_from(HEAD + most).unwrap();
        assert_eq!(take_all(&head(kind as u8, length)), Ok(vec![]), "{kind:?}");
        let refused = take_all(&head(kind as u8, length + 1));
        assert!(matches!(refused, Err(WireError::Length { .. })), "{kind:?}");
    }
    assert_eq!(take_all(&head(0x41, 8)), Err(WireError::Short));
    assert_eq!(take_all(&head(0x41, 0)), Err(WireError::Short));
    assert_eq!(
        take_all(&head(0x01, 9)),
        Err(WireError::Kind(1)),
        "it is ours to send"
    );
    assert!(matches!(
        take_all(&head(0x41, u32::MAX)),
        Err(WireError::Length { .. })
    ));
}

#[test]
fn a_body_that_is_not_as_it_must_be_is_refused() {
    let refused = |kind: Up, body: &[u8]| {
        assert_eq!(
            take_all(&raw(kind as u8, body)),
            Err(WireError::Body(kind)),
            "{kind:?} {body:?}"
        );
    };
    refused(Up::Text, &[0xff]);
    refused(Up::Ended, &[0x01]);
    refused(Up::Serves, &[0xff]);
    refused(Up::Refused, &[0x01]);
    refused(Up::Hello, &[0x80]);
    refused(Up::Hello, b"");
    refused(Up::Hello, &[0xc1]);
    refused(Up::GroupAdd, &[0x91, 0xa1, b'a']);
    refused(Up::GroupAdd, &[0x92, 0xa1, b'a', 0xc4, 0]);
    refused(Up::GroupSend, &[0x92, 0xa1, b'a', 0xa0]);
    let close = |code: u16, reason: &str| {
        let members = vec![
            ("code", Item::Plain(Value::Int(code.into()))),
            ("reason", Item::Plain(reason.into())),
        ];
        map(members)
    };
    for code in [0, 999, 1001, 1005, 1011, 2999, 5000] {
        refused(Up::Close, &close(code, ""));
    }
    refused(Up::Close, &close(1000, &"x".repeat(124)));
    let headers = |count: usize| {
        let header = Item::List(vec![Item::Bytes(vec![b'a']), Item::Bytes(vec![])]);
        map(vec![
            ("subprotocol", Item::Plain(Value::Null)),
            ("headers", Item::list(vec![header; count])),
        ])
    };
    assert!(take_all(&raw(Up::Accept as u8, &headers(MAX_HEADERS))).is_ok());
    refused(Up::Accept, &headers(MAX_HEADERS + 1));
    let response = |status: u64| {
        let status = Item::Plain(Value::Int(status.into()));
        map(vec![("status", status), ("headers", Item::list(vec![]))])
    };
    assert!(take_all(&raw(Up::Response as u8, &response(200))).is_ok());
    refused(Up::Response, &response(65_536));
    refused(Up::Taken, &[0xff]);
}

/// Bytes that differ from run to run of the loop and not from run to run of the test.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }
}

#[test]
fn nothing_that_comes_panics_or_is_kept_past_its_bound() {
    let vectors: Vec<Vec<u8>> = vectors("worker")
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = vectors[random.below(vectors.len())].clone();
        bytes.extend(&vectors[random.below(vectors.len())]);
        for _ in 0..random.below(4) {
            let place = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[place] = u8::try_from(random.below(256)).unwrap(),
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, 0xff),
            }
        }
        match take_all(&bytes) {
            Ok(messages) => read += messages.len(),
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > 1000 && refused > 1000,
        "{read} read, {refused} refused"
    );
}
