//! What the channel layer carries between two processes, against `channels_redis` on the same
//! Redis in the same run: events per second at full speed, latency at a tenth of that, and the CPU
//! time Redis spends on each event. All four directions are measured.
//!
//! `cargo run --release -p chatferry-bench --bin layer -- redis://host:port/0 PYTHON` needs a Redis
//! that may be filled and a Python with `channels_redis`. Rates depend on the machine. What is held
//! is the aim: 30 times Python's own rate, p99 under 2 ms at a tenth of the peak, and no more of
//! Redis' CPU per event than Python takes. Less is told, and the exit code is 1.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no figures without; they are small"
)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chatferry::{
    chat::Event,
    clock::since_1970,
    config::Config,
    dialect::django::events::Events,
    layer::{
        ChannelLayer, Received,
        redis::{self, event::Passthrough},
    },
    metrics::Metrics,
    python::datetime::Zone,
    value::Value,
};
use tokio::{task::spawn_blocking, time::timeout};

const GROUP: &str = "bench";
/// Calls of `group_send` at once, on either side.
const SENDERS: usize = 64;
/// No event is dropped for want of room: that would flatter a sender.
const CAPACITY: usize = 1_000_000;
const RUST: usize = 150_000;
const PYTHON: usize = 6_000;

/// A process that sends or receives, killed with its owner.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one run gave.
struct Figures {
    /// Events per second, from the first to the last that arrived.
    rate: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
    /// Microseconds of Redis' CPU for each event.
    redis: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["receive", url, count] => receive(url, count.parse().unwrap()).await,
        ["send", url, count, rate] => {
            send(url, count.parse().unwrap(), rate.parse().unwrap()).await;
        }
        [url, python] => return compare(url, python).await,
        _ => println!("skipped: give the URL of a Redis and a Python with channels_redis"),
    }
    ExitCode::SUCCESS
}

async fn compare(url: &str, python: &str) -> ExitCode {
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>12}",
        "", "events/s", "p50 ms", "p99 ms", "Redis µs each"
    );
    let mut peaks = Vec::new();
    for (from, to) in [(true, true), (false, true), (true, false), (false, false)] {
        // A Python that reads is filled no faster than it reads.
        let count = if from && to { RUST } else { PYTHON };
        let peak = run(url, python, (from, to), count, 0.0).await;
        let calm = run(
            url,
            python,
            (from, to),
            (peak.rate as usize).clamp(100, 20_000),
            peak.rate / 10.0,
        )
        .await;
        let name = |is_rust| if is_rust { "Chatferry" } else { "Python" };
        let way = format!("{} → {}", name(from), name(to));
        println!(
            "{way:<22} {:>7.0} {:>9.2} {:>9.2} {:>12.1}",
            peak.rate, calm.p50, calm.p99, peak.redis
        );
        peaks.push((peak, calm));
    }
    let ((ours, calm), (theirs, _)) = (&peaks[0], &peaks[3]);
    let times = ours.rate / theirs.rate;
    println!("{times:.0} times Python's rate");
    if times >= 30.0 && calm.p99 < 2.0 && ours.redis <= theirs.redis {
        ExitCode::SUCCESS
    } else {
        println!("less than the aim");
        ExitCode::FAILURE
    }
}

/// One receiver and one sender, each a process of its own. `rate` 0 is as fast as it goes.
async fn run(url: &str, python: &str, way: (bool, bool), count: usize, rate: f64) -> Figures {
    let (from, to) = way;
    let mut receiver = role(to, python, &["receive", url, &count.to_string()]);
    let mut output = BufReader::new(receiver.0.stdout.take().unwrap());
    assert_eq!(line(&mut output), "ready");
    let before = redis_cpu(url).await;
    let arguments = ["send", url, &count.to_string(), &rate.to_string()];
    let mut sender = role(from, python, &arguments);
    sender.0.wait().unwrap();
    let last = spawn_blocking(move || line(&mut output));
    let last = timeout(Duration::from_secs(120), last).await;
    let figures: Vec<f64> = last
        .unwrap()
        .unwrap()
        .split(' ')
        .map(|figure| figure.parse().unwrap())
        .collect();
    let spent = redis_cpu(url).await - before;
    receiver.0.wait().unwrap();
    Figures {
        rate: figures[0],
        p50: figures[1],
        p99: figures[2],
        redis: spent * 1e6 / count as f64,
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn role(is_rust: bool, python: &str, arguments: &[&str]) -> Role {
    let mut command = if is_rust {
        Command::new(std::env::current_exe().unwrap())
    } else {
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/layer.py"));
        command
    };
    command.args(arguments).stdout(Stdio::piped());
    Role(command.spawn().unwrap())
}

/// Seconds of CPU that Redis has used so far.
async fn redis_cpu(url: &str) -> f64 {
    let client = ::redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = ::redis::cmd("INFO")
        .arg("cpu")
        .query_async(&mut connection)
        .await
        .unwrap();
    let seconds = |name: &str| -> f64 {
        info.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .parse()
            .unwrap()
    };
    seconds("used_cpu_sys:") + seconds("used_cpu_user:")
}

async fn layer(url: &str) -> Arc<dyn ChannelLayer> {
    let flags = [
        ("layer.backend", "redis"),
        ("layer.hosts", url),
        ("layer.capacity", &CAPACITY.to_string()),
    ];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config;
    redis::open(
        &config.layer,
        Passthrough::new(Arc::new(Events { zone: Zone::utc() }), &[]),
        Arc::default(),
        Arc::new(Metrics::new()),
    )
    .await
    .unwrap()
}

fn now_ns() -> i128 {
    i128::try_from(since_1970().as_nanos()).unwrap()
}

/// Prints the rate, and p50 and p99 of the latency in milliseconds.
async fn receive(url: &str, count: usize) {
    let layer = layer(url).await;
    layer.group_add(GROUP, &layer.channel("a")).await.unwrap();
    println!("ready");
    let mut latencies = Vec::with_capacity(count);
    let (mut first, mut last) = (0, 0);
    while latencies.len() < count {
        let Some(Received::Event { event, .. }) = layer.receive().await else {
            continue;
        };
        let Event::Typing {
            user_id: Value::Int(sent),
            ..
        } = *event
        else {
            continue;
        };
        last = now_ns();
        if first == 0 {
            first = last;
        }
        latencies.push(last - sent);
    }
    layer.close().await;
    latencies.sort_unstable();
    let ms = |place: usize| latencies[place] as f64 / 1e6;
    let rate = count as f64 / ((last - first) as f64 / 1e9);
    println!("{rate} {} {}", ms(count / 2), ms(count * 99 / 100));
}

async fn send(url: &str, count: usize, rate: f64) {
    let layer = layer(url).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let began = tokio::time::Instant::now();
    let senders = (0..SENDERS).map(|_| {
        let (layer, sent) = (Arc::clone(&layer), Arc::clone(&sent));
        tokio::spawn(async move {
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                if rate > 0.0 {
                    let due = Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(began + due).await;
                }
                let event = Event::Typing {
                    user_id: Value::Int(now_ns()),
                    is_typing: true.into(),
                };
                layer.group_send(GROUP, event).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    layer.close().await;
}
