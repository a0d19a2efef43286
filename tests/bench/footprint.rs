//! What a server costs: its size, its start, its memory, and whether that memory grows while
//! clients come, talk and go.
//!
//! `tests/run footprint` builds the release binary and runs this on it. Sizes and memory have
//! limits, and past one of them the exit code is 1; times depend on the machine and are only told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "no figures without"
)]

#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../it"]
mod it {
    pub mod support;
}

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use it::support::{
    Connection, Directory, Process, Socket, process, request,
    socket::{CLOSE, frame},
};
use tokio::net::TcpSocket;

const SIZE_MB: f64 = 25.0;
const START_MS: f64 = 100.0;
/// Nearly all of it are pages of the program, which the system may drop and read again: it grows with
/// the program, as around each page that is used the system maps its neighbours.
const IDLE_MIB: f64 = 16.0;
/// Memory that no file holds.
const OWN_MIB: f64 = 2.0;
/// What the second half of the cycles may add. The page caches of SQLite's connections go on filling
/// for some 100,000 cycles; of 500,000 the second half added 0.3 MiB.
const GROWTH_MIB: f64 = 2.0;

const STARTS: usize = 15;
const CLIENTS: u8 = 16;
/// Cycles in one conversation, so that histories stay short.
const CYCLES_EACH: u64 = 20;
/// Lines of the table that is printed.
const SAMPLES: u64 = 20;

struct Options {
    binary: PathBuf,
    cycles: u64,
}

impl Options {
    /// `--binary FILE --cycles N`; cargo adds `--bench`.
    fn read() -> Self {
        let mut options = Options {
            binary: process::BINARY.into(),
            cycles: 10_000,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--binary" => options.binary = arguments.next().unwrap().into(),
                "--cycles" => options.cycles = arguments.next().unwrap().parse().unwrap(),
                _ => {}
            }
        }
        options
    }
}

/// Prints one figure beside its limit; whether it is within.
fn report(what: &str, figure: f64, limit: f64, unit: &str) -> bool {
    let within = figure < limit;
    let verdict = if within { "ok" } else { "OVER" };
    println!("{what:<32} {figure:>8.1} {unit:<4} limit {limit} {unit}  {verdict}");
    within
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = Options::read();
    let size = std::fs::metadata(&options.binary).unwrap().len();
    let mut fine = report("binary", decimal(size) / 1e6, SIZE_MB, "MB");
    report(
        "start to first answer (median)",
        start_ms(&options).await,
        START_MS,
        "ms",
    );

    let (idle, own) = idle_mib(&options).await;
    fine &= report("memory when idle (least)", idle, IDLE_MIB, "MiB");
    fine &= report("memory of its own (least)", own, OWN_MIB, "MiB");

    let directory = Directory::new();
    let server = Process::start_binary(&options.binary, &directory, &[]).await;
    let growth = growth_mib(server, options.cycles).await;
    fine &= report("growth over the second half", growth, GROWTH_MIB, "MiB");
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// From the start of the process, with no database yet, to its first answer.
async fn start_ms(options: &Options) -> f64 {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let directory = Directory::new();
        let began = Instant::now();
        let server = Process::start_binary(&options.binary, &directory, &[]).await;
        let answer = server
            .connect()
            .await
            .ask(request("GET", "/readyz", &[], None))
            .await;
        times.push(began.elapsed());
        assert_eq!(answer.status, 200);
    }
    times.sort();
    times[STARTS / 2].as_secs_f64() * 1e3
}

/// Returns all memory and what no file holds, a second after the first answer, the least of several
/// starts: around each page that is touched the system maps others that happen to be in its cache,
/// more or fewer from start to start, and these are not needed.
async fn idle_mib(options: &Options) -> (f64, f64) {
    let (mut idle, mut own) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..STARTS {
        let directory = Directory::new();
        let server = Process::start_binary(&options.binary, &directory, &[]).await;
        let mut client = server.connect().await;
        client.ask(request("GET", "/readyz", &[], None)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle = idle.min(mib(&server));
        own = own.min(decimal(server.resident_kib() - server.mapped_kib()) / 1024.0);
    }
    (idle, own)
}

/// Runs the cycles, and prints the memory as they go.
async fn growth_mib(server: Process, cycles: u64) -> f64 {
    let server = Arc::new(server);
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (done, address) = (Arc::clone(&done), server.address);
            tokio::spawn(async move { client(number, address, cycles, &done).await })
        })
        .collect();
    println!(
        "\n{:>10} {:>12} {:>10}",
        "cycles", "memory MiB", "open files"
    );
    let mut half = None;
    for sample in 0..=SAMPLES {
        let due = cycles * sample / SAMPLES;
        while done.load(Ordering::Relaxed) < due && clients.iter().any(|c| !c.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!(
            "{due:>10} {:>12.1} {:>10}",
            mib(&server),
            server.open_files()
        );
        if sample == SAMPLES / 2 {
            half = Some(mib(&server));
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{cycles} cycles in {seconds:.1} s, {:.0} a second\n",
        decimal(cycles) / seconds
    );
    mib(&server) - half.unwrap_or_default()
}

/// Connects, reads the history, says something, hears it, and closes; again and again.
async fn client(number: u8, address: SocketAddr, cycles: u64, done: &AtomicU64) {
    // An address of its own has ports of its own.
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0));
    for round in 0.. {
        let conversation = conversation(address, number, round).await;
        for _ in 0..CYCLES_EACH {
            let tcp = TcpSocket::new_v4().unwrap();
            tcp.set_reuseaddr(true).unwrap();
            tcp.bind(own).unwrap();
            let stream = tcp.connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut socket = Socket::open(Connection::over(stream), &conversation).await;
            socket.history().await;
            socket.works().await;
            socket.connection.send(frame(CLOSE, [3, 0xe8])).await;
            assert_eq!(socket.close_code().await, 1000);
            socket.ended().await;
            if done.fetch_add(1, Ordering::Relaxed) + 1 >= cycles {
                return;
            }
        }
    }
}

async fn conversation(address: SocketAddr, client: u8, round: u64) -> String {
    let body =
        json!({"participant1_id": format!("a{client}"), "participant2_id": format!("b{round}")});
    let create = request("POST", "/api/chat/conversations/", &[], Some(&body));
    let made = Connection::to(address).await.ask(create).await;
    made.json()["id"].as_str().unwrap().to_owned()
}

fn mib(server: &Process) -> f64 {
    decimal(server.resident_kib()) / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn decimal(number: u64) -> f64 {
    number as f64
}
