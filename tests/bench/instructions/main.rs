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
//! `instructions` alone names the paths and how often each is to be gone; `instructions PATH TIMES`
//! goes one of them. `tests/run instructions` does both under valgrind, and holds what it counts to
//! `tests/bench/instructions.json`.
//!
//! What is gone is the server's own code on one thread, with a store that keeps nothing in the place
//! of a database (for `batch` it is SQLite, which has its thread). What is counted includes the
//! client, which does little; the kernel is not counted.

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

use std::process::ExitCode;

/// Goes a path so many times.
type Go = fn(usize);

/// Every path, and how often it is to be gone. What the start of a server takes varies by millions of instructions: those
/// that need one are gone more often.
const PATHS: [(&str, usize, Go); 11] = [
    ("frame", 1000, frames::read),
    ("socket", 4000, server::talk),
    ("fan_out", 500, frames::fan_out),
    ("history", 50, frames::history),
    ("layer_send", 1000, layer::send),
    ("layer_core", 1000, layer::core),
    ("layer_pubsub", 1000, layer::pubsub),
    ("commit", 200, commit::committer),
    ("batch", 60, commit::sqlite),
    ("list", 200, server::list),
    ("send", 2000, server::send),
];

fn main() -> ExitCode {
    // Cargo adds flags of its own when it is asked to run this by itself.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let [name, times] = arguments.as_slice() else {
        for (name, times, _) in PATHS {
            println!("{name} {times}");
        }
        return ExitCode::SUCCESS;
    };
    let path = PATHS.iter().find(|(path, _, _)| path == name);
    let (Some((_, _, go)), Ok(times)) = (path, times.parse()) else {
        eprintln!("no path {name}, or not a number: {times}");
        return ExitCode::FAILURE;
    };
    go(times);
    ExitCode::SUCCESS
}
