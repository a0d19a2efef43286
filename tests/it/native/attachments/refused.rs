//! Files that are not kept, and what is left of them: nothing.

use std::{fs, io::Cursor};

use serde_json::json;
use uuid::Uuid;

use super::{Client, files_below, picture, sending, server, settings, upload_of, uploaded};
use crate::support::{
    Directory, Process,
    http::{Connection, request},
    process::run,
    until,
};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgba};

/// The head of a PNG of this size, without any pixel.
fn head_of_png(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 6, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec();
    bytes.extend(&chunk);
    bytes.extend(crc32fast::hash(&chunk).to_be_bytes());
    // The head of the pixels, which never come.
    bytes.extend(b"\0\0\x10\0IDAT");
    bytes
}

#[tokio::test]
async fn a_file_that_is_not_taken_leaves_nothing() {
    let (server, place) = server(&[
        ("attachments.file_mib", "1"),
        ("attachments.user_mib", "1"),
        ("attachments.types", "image/*,text/plain"),
    ])
    .await;
    let large = vec![b'a'; (1 << 20) + 1];
    let chunked = [
        b"POST /api/v1/attachments?user=alice HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
          application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n"
            .as_slice(),
        &large,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for (sent, status, code) in [
        (upload_of("alice", "large.txt", &large), 413, "too_long"),
        (chunked, 413, "too_long"),
        (upload_of("alice", "empty.txt", b""), 400, "bad_request"),
        (
            upload_of("alice", "photo.png", b"%PDF-1.7"),
            415,
            "unsupported_media_type",
        ),
        (
            upload_of("alice", "tool.txt", b"MZ\x90\0\x03\0"),
            415,
            "unsupported_media_type",
        ),
        (
            upload_of("alice", "a.png", b"\x89PNG\r\n\x1a\n broken"),
            415,
            "unsupported_media_type",
        ),
        (
            upload_of("alice", "a.gif", b"GIF89a"),
            415,
            "unsupported_media_type",
        ),
        (upload_of("", "a.txt", b"x"), 400, "no_sender"),
        (upload_of(&"a".repeat(256), "a.txt", b"x"), 413, "too_long"),
        (
            request(
                "POST",
                "/api/v1/attachments?user=alice",
                &[("Content-Type", "text/plain")],
                None,
            )
            .into_bytes(),
            415,
            "unsupported_media_type",
        ),
    ] {
        let mut connection = server.connect().await;
        // It may answer before it has read all.
        connection.push(sent).await;
        let answer = connection.next().await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code)),
            "{}",
            answer.text()
        );
    }
    let half = vec![b'a'; 600_000];
    uploaded(&server, "alice", "half.txt", &half).await;
    let full = server.send(upload_of("alice", "more.txt", &half)).await;
    assert_eq!((full.status, &full.json()["code"]), (413, &json!("quota")));
    // The others have their own room.
    uploaded(&server, "bob", "half.txt", &half).await;
    assert_eq!(files_below(&place).len(), 2);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let (server, place) = server(&[]).await;
    let mut connection = server.connect().await;
    let whole = upload_of("alice", "a.txt", &vec![b'a'; 1_000_000]);
    connection.send(&whole[..700_000]).await;
    until("its first bytes are there", async || {
        files_below(&place).len() == 1
    })
    .await;
    drop(connection);
    until("nothing is left", async || files_below(&place).is_empty()).await;
    let rows: i64 = server
        .directory
        .value("SELECT count(*) FROM chatferry_attachments");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn who_sends_many_files_slowly_leaves_room_for_others() {
    let (server, place) = server(&[]).await;
    let whole = upload_of("alice", "a.txt", &vec![b'a'; 1_000_000]);
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut connection = server.connect().await;
        connection.send(&whole[..700_000]).await;
        slow.push(connection);
    }
    until("all are under way", async || {
        files_below(&place).len() == slow.len()
    })
    .await;
    let refused = server.send(upload_of("alice", "b.txt", b"b")).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    uploaded(&server, "bob", "b.txt", b"b").await;
    for connection in &mut slow {
        connection.send(&whole[700_000..]).await;
        assert_eq!(connection.next().await.unwrap().status, 201);
    }
    uploaded(&server, "alice", "b.txt", b"b").await;
}

#[tokio::test]
async fn an_image_that_would_take_too_much_memory_is_not_decoded() {
    let (server, place) = server(&[("attachments.thumbnail_mib", "4")]).await;
    for (width, height) in [(60_000, 60_000), (1025, 1024)] {
        let bomb = uploaded(&server, "alice", "a.png", &head_of_png(width, height)).await;
        assert_eq!(
            (&bomb["width"], &bomb["height"]),
            (&json!(width), &json!(height))
        );
    }
    assert_eq!(files_below(&place).len(), 2, "no thumbnail");
    uploaded(
        &server,
        "alice",
        "b.png",
        &picture(1024, 1024, ImageFormat::Png),
    )
    .await;
    assert_eq!(files_below(&place).len(), 4);
    // One whose pixels are missing is kept, and has no thumbnail either.
    uploaded(&server, "alice", "c.png", &head_of_png(100, 100)).await;
    assert_eq!(files_below(&place).len(), 5);
}

/// Small files of large images, each of which takes the most that an image of its format can: 1,200 by
/// 1,200 pixels of four colours in several scans, 1,000 by 1,000 in two frames that one can see through,
/// 1,400 by 1,400 in two frames, and 1,400 by 1,400 with 16 bits for each colour.
#[tokio::test]
async fn no_image_takes_more_memory_than_is_allowed() {
    const ROOM_MIB: u64 = 16;
    /// Memory of decoders besides pixels, and of a server after its first request.
    const BESIDES_MIB: u64 = 6;
    let deep = DynamicImage::ImageRgba16(ImageBuffer::from_pixel(1400, 1400, Rgba([9, 8, 7, 6])));
    let mut png = Cursor::new(Vec::new());
    deep.write_to(&mut png, ImageFormat::Png).unwrap();
    let images: [&[u8]; 4] = [
        include_bytes!("progressive.jpg"),
        include_bytes!("animated.webp"),
        include_bytes!("animated.gif"),
        &png.into_inner(),
    ];
    for image in images {
        let directory = Directory::new();
        let place = directory.path().join("files");
        let place = format!("attachments.place={}", place.display());
        let room = format!("attachments.thumbnail_mib={ROOM_MIB}");
        let server = Process::start(&directory, &[&place, &room]).await;
        let before = server.resident_kib() - server.mapped_kib();
        let mut connection = Connection::narrow(server.address).await;
        connection.push(upload_of("alice", "a", image)).await;
        let answer = connection.next().await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let kind = &answer.json()["type"];
        let grown = (server.peak_kib() - server.mapped_kib()).saturating_sub(before) / 1024;
        assert!(grown <= ROOM_MIB + BESIDES_MIB, "{kind}: {grown} MiB");
        let thumbnails = files_below(&directory.path().join("files")).len() - 1;
        assert_eq!(thumbnails, 1, "{kind}");
    }
}

#[tokio::test]
async fn a_message_has_so_many_files_and_each_of_its_own_sender() {
    let (server, _) = server(&[("attachments.per_message", "1")]).await;
    let id = server.conversation().await;
    let mut alice = Client::open(&server).await;
    assert_eq!(alice.hello["limits"]["attachments"], 1);
    alice.subscribe(&id, None).await;
    let one = uploaded(&server, "alice", "a.txt", b"a").await;
    let two = uploaded(&server, "alice", "b.txt", b"b").await;
    let foreign = uploaded(&server, "bob", "c.txt", b"c").await;
    let nothing = json!({"id": Uuid::now_v7().to_string()});
    for (files, code) in [
        (&[&one, &two][..], "too_long"),
        (&[&one, &one], "bad_frame"),
        (&[&foreign], "no_attachment"),
        (&[&nothing], "no_attachment"),
    ] {
        let own = Uuid::now_v7().to_string();
        alice.send(sending(&own, &id, "x", files)).await;
        let refused = alice.next_of("nack").await;
        assert_eq!(
            (&refused["id"], &refused["code"]),
            (&json!(own), &json!(code))
        );
    }
    assert_eq!(server.contents(&id).await, [""; 0]);
    // Two messages at once: one of them has it.
    let mut sent = Vec::new();
    for _ in 0..8 {
        let own = Uuid::now_v7().to_string();
        alice.send(sending(&own, &id, "x", &[&one])).await;
        sent.push(own);
    }
    let mut outcomes = Vec::new();
    while outcomes.len() < sent.len() {
        let answer = alice.next().await;
        if ["ack", "nack"].contains(&answer["type"].as_str().unwrap()) {
            outcomes.push(answer["type"] == "ack");
        }
    }
    assert_eq!(outcomes.iter().filter(|stored| **stored).count(), 1);
    assert_eq!(server.contents(&id).await.len(), 1);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_an_error_and_the_chat_goes_on() {
    let (server, place) = server(&[]).await;
    let id = server.conversation().await;
    let file = uploaded(&server, "alice", "a.txt", b"text").await;
    let url = super::link(&server, "alice", &file).await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let away = place.with_extension("away");
    fs::rename(&place, &away).unwrap();
    let refused = server.send(upload_of("alice", "b.txt", b"text")).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("unavailable"))
    );
    assert_eq!(server.get(&url).await.status, 404);
    server.stored(&id, "alice", "still here").await;
    fs::rename(&away, &place).unwrap();
    uploaded(&server, "alice", "b.txt", b"text").await;
    assert_eq!(server.get(&url).await.status, 200);
}

#[tokio::test]
async fn a_disk_that_is_full_is_an_error_and_the_chat_goes_on() {
    let directory = Directory::new();
    let place = directory.path().join("files");
    let settings = settings(place.to_str().unwrap()).map(|(key, value)| format!("{key}={value}"));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let process = Process::start(&directory, &settings).await;
    process.conversation().await;
    process.limit_files("400000").await;
    let large = upload_of("alice", "a.txt", &vec![b'a'; 900_000]);
    let mut connection = process.connect().await;
    connection.push(&large).await;
    let refused = connection.next().await.unwrap();
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (507, &json!("full"))
    );
    until("nothing is left", async || files_below(&place).is_empty()).await;
    let mut connection = process.connect().await;
    let small = connection.ask(upload_of("alice", "a.txt", b"text")).await;
    assert_eq!(small.status, 201, "{}", small.text());
    process.limit_files("unlimited").await;
    let mut connection = process.connect().await;
    assert_eq!(connection.ask(&large).await.status, 201);
    let id = process.conversation().await;
    process.socket(&id).await.is_open().await;
}

#[tokio::test]
async fn check_writes_to_the_place_of_the_files() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    fs::write(&file, "no directory").unwrap();
    for (place, code) in [(directory.path().join("files"), 0), (file.join("files"), 1)] {
        let setting = format!("attachments.place={}", place.display());
        let checked = run(&directory, &["check", "--set", &setting]).await;
        assert_eq!(checked.code, code, "{checked:?}");
        assert!(checked.stdout.contains("attachments"), "{checked:?}");
        assert_eq!(files_below(&place).len(), 0);
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_made_refuses_the_start() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    fs::write(&file, "no directory").unwrap();
    let below = file.join("files");
    let flags = settings(below.to_str().unwrap());
    let config = crate::support::server::config(&directory, &flags);
    let refused = chatferry::server::Site::start(config).await;
    let why = refused.err().unwrap().to_string();
    assert!(why.starts_with("attachments.place: "), "{why}");
}
