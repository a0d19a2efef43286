//! Answers that FastAPI gave, each a request to ours. `cases/` has a file for each generation.

use std::{fmt::Write as _, fs, path::Path};

use chatferry::{config::Generation, fastapi::email};
use serde_json::Value;

use super::{GENERATIONS, server};
use crate::support::{Answer, Server, socket::handshake};

/// Differs on purpose: `(case, status of ours)`. FastAPI fails where it shows a lone surrogate.
const OTHERWISE: [(&str, u16); 1] = [("messages: lone surrogate", 422)];

fn read(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fastapi/cases");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn captured_answers_are_given_again() {
    for generation in GENERATIONS {
        let server = server(generation).await;
        let cases = read(&format!("{generation}.json"));
        assert!(cases.len() > 80);
        let mut wrong = String::new();
        for case in &cases {
            let answer = ask(&server, case).await;
            let name = case["case"].as_str().unwrap();
            if let Some((_, status)) = OTHERWISE.iter().find(|(known, _)| *known == name) {
                assert_eq!(answer.status, *status, "{name}");
                continue;
            }
            if let Some(difference) = difference(case, &answer) {
                let _ = writeln!(wrong, "{generation} {name}: {difference}");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}

async fn ask(server: &Server, case: &Value) -> Answer {
    if let Some(path) = case["socket"].as_str() {
        return server.send(handshake(path, "")).await;
    }
    let body = match case["hex"].as_str() {
        Some(hex) => (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect(),
        None => case["body"]
            .as_str()
            .unwrap_or_default()
            .as_bytes()
            .to_vec(),
    };
    let (method, path) = (
        case["method"].as_str().unwrap(),
        case["path"].as_str().unwrap(),
    );
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in case["headers"].as_object().unwrap() {
        let _ = write!(head, "{name}: {}\r\n", value.as_str().unwrap());
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    server.send([head.into_bytes(), body].concat()).await
}

/// The parts of an answer that are not as they were captured.
fn difference(case: &Value, answer: &Answer) -> Option<String> {
    if case["status"] != answer.status {
        return Some(format!("{} {}", answer.status, answer.text()));
    }
    let mut ours: Vec<_> = answer.headers.clone();
    ours.retain(|(name, _)| !["date", "content-length"].contains(&name.as_str()));
    ours.sort();
    let theirs = case["answer_headers"].as_object().unwrap().iter();
    let mut theirs: Vec<_> = theirs
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    theirs.sort();
    // The captures were made without cross-origin rules, which newer ones mark everywhere.
    ours.retain(|(name, _)| name != "vary");
    if ours != theirs {
        return Some(format!("headers {ours:?}, not {theirs:?}"));
    }
    // Its events are compared with those of the live application.
    let is_stream = case["case"] == "sse: stream";
    let expected = case["answer"].as_str().unwrap();
    // Long bodies were not captured to their end.
    let is_cut = case["is_cut"] == true;
    let is_same = answer.text() == expected || is_cut && answer.text().starts_with(expected);
    (!is_stream && !is_same).then(|| format!("{}\n     not {expected}", answer.text()))
}

#[test]
fn addresses_are_taken_and_refused_as_email_validator_does() {
    let cases = read("email.json");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let sent = case["input"].as_str().unwrap();
        let expected = match case["accepted_as"].as_str() {
            Some(accepted) => Ok(accepted),
            None => Err(case["ctx"]["reason"].as_str().unwrap()),
        };
        let found = email::normalized(sent, Generation::V0_127);
        let found = found.as_deref().map_err(|reason| &**reason);
        assert_eq!(found, expected, "{sent}");
    }
}

#[test]
fn the_stream_of_events_is_framed_as_it_was_captured() {
    use chatferry::{
        fastapi::sse::{ServerEvent, ping},
        python::datetime::from_sqlite,
    };
    let event = |event, data, id, retry| ServerEvent {
        id,
        event,
        data: Some(data),
        retry,
    };
    let connected = r#"{"message": "Connected to room 1", "room_id": 1, "user_id": 2}"#;
    let news = r#"{"content": "\ud55c\uae00\nline2"}"#;
    let frames = [
        event(Some("connected"), connected, None, None).frame(),
        event(Some("new_message"), news, None, None).frame(),
        event(None, "line1\nline2", None, None).frame(),
        event(Some("x"), "raw a\nraw b", Some("7"), Some(3000)).frame(),
        ping(from_sqlite("2026-11-29 05:52:23.744893").unwrap()),
        ping(from_sqlite("2026-11-29 05:52:24.745853").unwrap()),
        event(None, "plain string", None, None).frame(),
    ];
    let ours = String::from_utf8(frames.concat()).unwrap();
    let lines = |text: &str| {
        let lines = text
            .split("\r\n")
            .map(|line| match line.split_once("ping - ") {
                Some((before, time)) => format!("{before}ping - <time of {} bytes>", time.len()),
                None => line.to_owned(),
            });
        lines.collect::<Vec<_>>()
    };
    for generation in GENERATIONS {
        let cases = read(&format!("{generation}.json"));
        let stream = cases.iter().find(|case| case["case"] == "sse: stream");
        let theirs = stream.unwrap()["answer"].as_str().unwrap();
        let theirs = theirs.replace("<time>", "2026-11-29 05:52:23.744893+00:00");
        assert_eq!(lines(&ours), lines(&theirs));
    }
}
