//! Sockets that only sit there, and answer pings: in conversations of their own, or in those of
//! `--conversation`, with commas between them, and `--after` a cursor.

use std::time::Instant;

use serde_json::{Value, json};

use super::{crowd::Crowd, http, options::Options, process};

/// Sockets that are opened before memory is looked at, so that what a server takes once for all
/// is not counted as theirs.
const FIRST: usize = 50;

pub fn hold(options: &Options) -> Value {
    let (sockets, members) = (
        options.number("sockets", 1000),
        options.number("members", 10),
    );
    let pids = options.pids();
    let given = options.text("conversation");
    let conversations: Vec<String> = if given.is_empty() {
        let numbers = 0..(sockets + FIRST).div_ceil(members);
        let made = numbers.map(|number| http::new_conversation(options, number));
        made.collect()
    } else {
        given.split(',').map(str::to_owned).collect()
    };
    let mut crowd = Crowd::new(options.to(), options.spoken());
    let open = |crowd: &mut Crowd, count: usize| {
        for _ in 0..count {
            let place = crowd.len() / members % conversations.len();
            crowd.open(&conversations[place], options.text("after"));
        }
    };
    open(&mut crowd, FIRST);
    let before = process::resident_kib(&pids);
    let began = Instant::now();
    open(&mut crowd, sockets);
    let opening_s = began.elapsed().as_secs_f64();
    let after = process::resident_kib(&pids);
    let pings = crowd.pings;
    let (began, cpu) = (Instant::now(), process::cpu_s(&pids));
    crowd.rest(began + options.duration());
    let cpu = (process::cpu_s(&pids) - cpu) / began.elapsed().as_secs_f64();
    json!({
        "sockets": sockets,
        "opening_s": opening_s,
        "before_kib": before,
        "opened_kib": after,
        "resident_kib": process::resident_kib(&pids),
        "cpu": cpu,
        "pings": crowd.pings - pings,
        "ended": crowd.ended,
    })
}
