//! Clients of hosted sockets that send more frames than an application needs: they are read slower,
//! lose nothing, and are not closed for it.

use super::{CLOSED, DONE, ENDED, TEXT_IN, TEXT_OUT, Worker, open, server};
use crate::support::{
    Server, Socket,
    socket::{CLOSE, CONTINUATION, PING, PONG, TEXT, frame, frame_with},
    until,
};

const SLOWED: &str = "chatferry_ws_floods_total{outcome=\"slowed\"}";
const CLOSED_FOR_IT: &str = "chatferry_ws_floods_total{outcome=\"closed\"}";
const LIMITS: &str = "chatferry_security_events_total{event=\"limit\"}";

/// Sends a ping, and reads until its answer.
async fn answers(socket: &mut Socket, payload: &str) {
    socket.connection.push(frame(PING, payload)).await;
    loop {
        let frame = socket.any().await.expect("the socket to be open");
        if frame.opcode == PONG && frame.payload == payload.as_bytes() {
            return;
        }
    }
}

async fn talks(worker: &mut Worker, socket: &mut Socket, number: u64) {
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
}

async fn floods(server: &Server) -> (f64, f64, f64) {
    let metric = async |name| server.metric(name).await;
    (
        metric(SLOWED).await,
        metric(LIMITS).await,
        metric(CLOSED_FOR_IT).await,
    )
}

#[tokio::test]
async fn a_flood_of_control_frames_or_fragments_is_read_slower_and_stays_open() {
    let settings = [("host.frames_per_s", "200"), ("ws.flood_s", "1")];
    let (server, path) = server(&settings).await;
    let mut worker = Worker::join(&path).await;
    let kinds = [
        (Vec::new(), frame(PING, "")),
        (Vec::new(), frame(PONG, "")),
        (frame_with(TEXT, ""), frame_with(CONTINUATION, "")),
    ];
    let mut sockets = Vec::new();
    for (count, (first, again)) in (1..).zip(kinds) {
        let (mut socket, number) = open(&server, &mut worker).await;
        socket.connection.push(first).await;
        // For longer than `ws.flood_s`.
        socket.connection.push(again.repeat(500)).await;
        answers(&mut socket, "last").await;
        assert_eq!(
            floods(&server).await,
            (f64::from(count), f64::from(count), 0.0)
        );
        talks(&mut worker, &mut socket, number).await;
        // The worker hears of none that ends.
        sockets.push(socket);
    }
}

#[tokio::test]
async fn what_is_read_slower_is_handed_over_whole_and_in_order() {
    let (server, path) = server(&[("host.frames_per_s", "40")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    let outbox: Vec<u8> = (0..120)
        .flat_map(|number| frame(TEXT, number.to_string()))
        .collect();
    socket.connection.push(&outbox).await;
    socket.connection.push(frame(CLOSE, [3, 232])).await;
    for said in 0..120 {
        let (_, body) = worker.next(TEXT_IN).await;
        assert_eq!(body, said.to_string().as_bytes());
        worker.say(DONE, number, b"").await;
    }
    assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x03, 0xe8]));
    worker.say(ENDED, number, &[0xc2]).await;
    assert_eq!(socket.close_code().await, 1000);
    assert_eq!(floods(&server).await, (1.0, 1.0, 0.0));
}

#[tokio::test]
async fn what_a_client_said_before_it_vanished_is_handed_over_at_the_rate() {
    let (server, path) = server(&[("host.frames_per_s", "40")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    let outbox = frame(TEXT, "x").repeat(60);
    socket.connection.push(&outbox).await;
    drop(socket);
    for _ in 0..60 {
        assert_eq!(worker.next(TEXT_IN).await.0, number);
        worker.say(DONE, number, b"").await;
    }
    assert_eq!(worker.next(CLOSED).await.0, number);
}

#[tokio::test]
async fn a_neighbour_is_served_while_a_flood_waits() {
    let (server, path) = server(&[("host.frames_per_s", "10")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    let (mut flooder, _) = open(&server, &mut worker).await;
    flooder.connection.push(frame(PING, "").repeat(1000)).await;
    until("the flood to be noticed", async || {
        server.metric(SLOWED).await == 1.0
    })
    .await;
    for _ in 0..5 {
        talks(&mut worker, &mut socket, number).await;
    }
}

#[tokio::test]
async fn without_a_budget_nothing_is_slowed_down() {
    let (server, path) = server(&[("host.frames_per_s", "0")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, _) = open(&server, &mut worker).await;
    socket.connection.push(frame(PING, "").repeat(20_000)).await;
    answers(&mut socket, "last").await;
    assert_eq!(server.metric(SLOWED).await, 0.0);
}

#[tokio::test]
async fn a_large_message_is_one_frame() {
    let (server, path) = server(&[("host.frames_per_s", "20")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    for _ in 0..3 {
        let large = frame(TEXT, "x".repeat(500_000));
        socket.connection.push(large).await;
        assert_eq!(worker.next(TEXT_IN).await.1.len(), 500_000);
        worker.say(DONE, number, b"").await;
    }
    assert_eq!(server.metric(SLOWED).await, 0.0);
}
