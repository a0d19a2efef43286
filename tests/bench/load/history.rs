//! A long history told to one client: how long it takes, and how much memory it takes the server.

use std::{
    io::{Read, Write},
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    crowd::connect,
    options::Options,
    process,
    wire::{self, Spoken},
};

pub fn read(options: &Options) -> Value {
    let pids = options.pids();
    process::forget_peak(&pids);
    let before = process::resident_kib(&pids);
    let (began, cpu) = (Instant::now(), process::cpu_s(&pids));
    let mut stream = connect(options.to(), 0);
    let handshake = Spoken::Django.opening(options.text("conversation"), "");
    stream.write_all(&handshake).unwrap();
    let bytes = read_message(&mut stream);
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process::cpu_s(&pids) - cpu;
    json!({
        "seconds": seconds,
        "messages": wire::numbers(&bytes).count(),
        "bytes": bytes.len(),
        "before_kib": before,
        "peak_kib": process::peak_kib(&pids),
        "cpu_s": cpu,
    })
}

/// The payload of the first message.
fn read_message(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let (mut bytes, mut payload) = (Vec::new(), Vec::new());
    let mut room = vec![0; 256 * 1024];
    let mut in_frames = false;
    loop {
        let size = stream.read(&mut room).unwrap();
        assert!(size > 0, "the server ended the history");
        bytes.extend(&room[..size]);
        if !in_frames {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { continue };
            assert!(bytes.starts_with(b"HTTP/1.1 101"));
            bytes.drain(..end + 4);
            in_frames = true;
        }
        let mut used = 0;
        while let Some((frame, size)) = wire::frame(&bytes[used..]) {
            payload.extend(frame.payload);
            used += size;
            if frame.last {
                return payload;
            }
        }
        bytes.drain(..used);
    }
}
