//! Links to files, and how files are served.

use std::sync::Arc;

use image::ImageFormat;
use serde_json::json;

use super::{fetch, link, picture, server, settings, uploaded};
use crate::support::{
    Server,
    http::{id_of, request},
};

#[tokio::test]
async fn a_file_is_served_so_that_nothing_in_it_is_run() {
    let (server, _) = server(&[]).await;
    let page = b"<!doctype html><script>alert(1)</script>";
    let file = uploaded(&server, "alice", "a%22%0D%0Ab.html", page).await;
    assert_eq!(
        (&file["name"], &file["type"]),
        (&json!("a\"b.html"), &json!("text/plain"))
    );
    let links = link(&server, "alice", &file).await;
    let answer = fetch(&server, &links, "url").await;
    let header = |name| answer.header(name).unwrap();
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(
        header("content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert_eq!(
        header("content-disposition"),
        "attachment; filename*=UTF-8''a%22b.html"
    );
    assert!(header("cache-control").starts_with("private, max-age="));
    let tag = header("etag").to_owned();

    let url = links["url"].as_str().unwrap();
    let with =
        async |headers: &[(&str, &str)]| server.send(request("GET", url, headers, None)).await;
    assert_eq!(
        with(&[("If-None-Match", &tag), ("Connection", "close")])
            .await
            .status,
        304
    );
    let part = with(&[("Range", "bytes=2-9")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &page[2..10]));
    assert_eq!(part.header("content-range"), Some("bytes 2-9/40"));
    assert_eq!(with(&[("Range", "bytes=-7")]).await.body, b"script>");
    let outside = with(&[("Range", "bytes=40-")]).await;
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, Some("bytes */40"))
    );
    let other = with(&[("Range", "bytes=2-9"), ("If-Range", "\"other\"")]).await;
    assert_eq!((other.status, other.body.as_slice()), (200, &page[..]));
    let image = uploaded(&server, "alice", "a.gif", &picture(4, 4, ImageFormat::Gif)).await;
    let links = link(&server, "alice", &image).await;
    let shown = fetch(&server, &links, "url").await;
    assert_eq!(
        shown.header("content-disposition"),
        Some("inline; filename*=UTF-8''a.gif")
    );
    // To those of the conversation a lasting address leads to a link.
    let path = format!("/api/v1/attachments/{}/file?user=alice", id_of(&image));
    let led = server.get(&path).await;
    let to = led.header("location").unwrap();
    assert_eq!((led.status, server.get(to).await.status), (303, 200));
}

#[tokio::test]
async fn a_thumbnail_has_the_type_of_its_content() {
    let (server, _) = server(&[]).await;
    let clear = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::RgbaImage::from_pixel(600, 600, image::Rgba([20, 90, 160, 40]));
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let plain = picture(600, 600, ImageFormat::Png);
    for (bytes, kind, begins) in [
        (clear, "image/png", &b"\x89PNG"[..]),
        (plain, "image/jpeg", b"\xff\xd8\xff"),
    ] {
        let file = uploaded(&server, "alice", "a.png", &bytes).await;
        let links = link(&server, "alice", &file).await;
        let shown = fetch(&server, &links, "thumbnail_url").await;
        assert_eq!(shown.header("content-type"), Some(kind));
        assert!(shown.body.starts_with(begins));
        let length = shown.header("content-length").unwrap();
        assert_eq!(length.parse(), Ok(shown.body.len()));
    }
}

#[tokio::test]
async fn a_link_that_was_not_made_here_leads_nowhere() {
    let (server, _) = server(&[]).await;
    let file = uploaded(&server, "alice", "a.txt", b"text").await;
    let other = uploaded(&server, "alice", "b.txt", b"other").await;
    let url = link(&server, "alice", &file).await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let (head, signature) = url.rsplit_once("signature=").unwrap();
    for forged in [
        head.to_owned(),
        format!("{head}signature="),
        format!("{head}signature={}", signature.to_lowercase()),
        url.replace("until=", "until=9"),
        url.replace(&id_of(&file), &id_of(&other)),
        format!("{url}&thumbnail=1"),
    ] {
        let answer = server.get(&forged).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("no_attachment")),
            "{forged}"
        );
    }
    assert_eq!(server.get(&url).await.status, 200);
}

#[tokio::test]
async fn processes_with_one_key_take_the_links_of_each_other() {
    let key = ("attachments.key", "0123456789abcdef0123456789abcdef");
    let (one, place) = server(&[key]).await;
    let file = uploaded(&one, "alice", "a.txt", b"text").await;
    let links = link(&one, "alice", &file).await;
    let beside = async |key: &str| {
        let mut flags = settings(place.to_str().unwrap()).to_vec();
        flags.push(("attachments.key", key));
        Server::on(Arc::clone(&one.directory), &flags).await
    };
    let same = beside(key.1).await;
    assert_eq!(fetch(&same, &links, "url").await.body, b"text");
    let other = beside("another key, which is as long as it must be").await;
    assert_eq!(fetch(&other, &links, "url").await.status, 404);
}
