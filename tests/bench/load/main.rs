//! The client of the measurements: raw sockets, frames encoded beforehand, one thread, so that it
//! costs little beside what it measures. It knows the protocol that is served and nothing else,
//! and speaks to whichever server serves it.
//!
//! `load MODE --to ADDRESS [--NAME VALUE …]` prints one line of JSON. `tests/bench/run` calls it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "no figures without"
)]

mod bare;
mod crowd;
mod dialogue;
mod history;
mod hold;
mod http;
mod options;
mod process;
mod talk;
mod tally;
mod wire;

use options::Options;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(mode) = arguments.next() else {
        println!("skipped: it is told what to do by tests/bench/run");
        return;
    };
    let options = Options::read(arguments);
    let figures = match mode.as_str() {
        "talk" => talk::talk(&options),
        "hold" => hold::hold(&options),
        "come" => dialogue::come(&options),
        "ask" => dialogue::ask(&options),
        "history" => history::read(&options),
        "bare" => bare::serve(&options),
        "listen" => bare::listen(&options),
        mode => panic!("no mode {mode}"),
    };
    println!("{figures}");
}
