//! The hot paths of a server, each gone as often as it is told, for their instructions to be counted.
//!
//! | path | what is gone once |
//! |---|---|
//! | `frame` | the bytes of a `chat_message` to what they ask for |
//! | `socket` | a `chat_message` from a socket through server, chat, committer, layer and hub, and back as the event |
//! | `fan_out` | an event from the layer into the queues of 100 sockets, and out of them as bytes |
//! | `history` | the frame of a history of 50 messages |
//! | `layer_send` | an event to the bytes for one queue of Redis |
//! | `layer_core` | such bytes to an event |
//! | `layer_pubsub` | the same without prefix and route, as pub/sub has them |
//! | `commit` | 100 messages at once through the committer |
//! | `batch` | 100 messages at once into SQLite's tables, in one transaction |
//! | `list` | a GET of 50 messages, answered |
//! | `send` | a POST of a message, answered |
//!
//! `instructions` alone names the paths; `instructions PATH` goes one of them: some times to warm up,
//! and some times within [`counted`]. `tests/run instructions` does both under valgrind, and holds the
//! instructions of [`counted`] to `tests/bench/instructions.json`.
//!
//! What is gone is the server's own code on one thread, with a store that keeps nothing in the place
//! of a database (for `batch` it is SQLite, which has its thread). What is counted includes the
//! client, which does little. The kernel is not counted, nor is the start of the program: libraries
//! calibrate clocks there, which takes as many instructions as fit into some milliseconds.

#![allow(clippy::unwrap_used, reason = "no figures without")]

mod commit;
mod frames;
mod layer;
mod nowhere;
mod server;
mod world;

#[path = "../load/wire.rs"]
#[allow(dead_code, reason = "the client of the measurements uses more of it")]
mod wire;

use std::{hint::black_box, process::ExitCode};

/// Goes a path so many times. What it needs has been made.
type Go = Box<dyn FnMut(usize)>;

/// A name, how often the path is gone while it is counted, and what makes it ready.
type Path = (&'static str, usize, fn() -> Go);

const PATHS: [Path; 11] = [
    ("frame", 1000, frames::read),
    ("socket", 500, server::talk),
    ("fan_out", 100, frames::fan_out),
    ("history", 50, frames::history),
    ("layer_send", 1000, layer::send),
    ("layer_core", 1000, layer::core),
    ("layer_pubsub", 1000, layer::pubsub),
    ("commit", 50, commit::committer),
    ("batch", 20, commit::sqlite),
    ("list", 50, server::list),
    ("send", 250, server::send),
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for (name, times, _) in PATHS {
            println!("{name} {times}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, times, ready)) = PATHS.iter().find(|(path, _, _)| *path == name) else {
        eprintln!("no path {name}");
        return ExitCode::FAILURE;
    };
    let mut go = ready();
    go(times.div_ceil(4));
    counted(&mut go, *times);
    ExitCode::SUCCESS
}

/// Goes a path. Callgrind knows it by its name: it counts from its call to its return.
#[inline(never)]
fn counted(go: &mut Go, times: usize) {
    go(black_box(times));
    // Not the last call, which could become a jump.
    black_box(());
}
