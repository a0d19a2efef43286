//! People talk in conversations, and everybody listens: how many messages, how many deliveries, how
//! long each took, and whether everything was heard and stored once.
//!
//! Without `--rate` each talker keeps `--in-flight` messages on their way: it says the next when it
//! hears one of its own. With it, so many are said in a second, and a message that could not be
//! said in time is late by that much.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    crowd::{Crowd, Heard},
    http,
    options::Options,
    process,
    tally::{Said, Seen, latencies, stored},
    wire::{Spoken, Template},
};

/// A talker that has not heard itself for so long has lost what it said, and goes on.
const LOST: Duration = Duration::from_secs(3);

/// What nobody has heard so long after the last word is lost.
const SETTLED: Duration = Duration::from_secs(10);

/// Fewer messages are no figure: a slow server is given more time, but not longer than this.
const LEAST: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);

struct Talk {
    crowd: Crowd,
    conversations: Vec<Conversation>,
    members: usize,
    talkers: usize,
    in_flight: usize,
    /// Of each socket in a conversation that is talked in.
    seen: Vec<Seen>,
    /// When each of these sockets last heard itself.
    heard_itself: Vec<Instant>,
    window: Window,
}

struct Conversation {
    id: String,
    template: Template,
    said: Vec<Said>,
}

/// What is counted between warm-up and end.
#[derive(Default)]
struct Window {
    open: bool,
    /// Messages that their own talkers have heard.
    messages: usize,
    deliveries: usize,
    latencies: Vec<f64>,
}

pub fn talk(options: &Options) -> Value {
    let mut talk = Talk::begin(options);
    let pids = options.pids();
    let rate: f64 = options.get("rate").unwrap_or(0.0);
    let warm_up = Duration::from_secs_f64(options.get("warm-up").unwrap_or(1.0));
    let mut pace = Pace::new(rate);
    talk.prompt(rate);
    talk.go_on(Instant::now() + warm_up, &mut pace);
    talk.window.open = true;
    let (began, cpu, own) = (Instant::now(), process::cpu_s(&pids), own_cpu_s());
    talk.go_on(began + options.duration(), &mut pace);
    while talk.window.messages < LEAST && began.elapsed() < PATIENCE {
        talk.go_on(Instant::now() + LOST / 10, &mut pace);
    }
    talk.window.open = false;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process::cpu_s(&pids) - cpu;
    let own = own_cpu_s() - own;
    let resident_kib = process::resident_kib(&pids);
    talk.settle();
    let (lost, twice) = talk.missed();
    let (unstored, stored_twice) = talk.not_stored(options);
    json!({
        "seconds": seconds,
        "messages": talk.window.messages,
        "deliveries": talk.window.deliveries,
        "latency": latencies(talk.window.latencies),
        "lost": lost,
        "doubled": twice + stored_twice,
        "unstored": unstored,
        "ended": talk.crowd.ended,
        "cpu_s": cpu,
        "client_cpu_s": own,
        "resident_kib": resident_kib,
    })
}

fn own_cpu_s() -> f64 {
    process::cpu_s(&[std::process::id()])
}

/// When the next message is due, if they come at a rate.
struct Pace {
    rate: f64,
    began: Instant,
    said: u32,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Pace {
            rate,
            began: Instant::now(),
            said: 0,
        }
    }

    fn due(&self) -> Option<Instant> {
        let seconds = f64::from(self.said) / self.rate;
        (self.rate > 0.0).then(|| self.began + Duration::from_secs_f64(seconds))
    }
}

impl Talk {
    /// Everybody is there: the members of each conversation, one conversation after the other,
    /// and then those who only sit in others.
    fn begin(options: &Options) -> Self {
        let members = options.number("members", 1);
        let spoken = options.spoken();
        let mut crowd = Crowd::new(options.to(), spoken);
        let given = options.text("conversation");
        let ids: Vec<String> = if given.is_empty() {
            let numbers = 0..options.number("conversations", 1);
            let made = numbers.map(|number| http::new_conversation(options, number));
            made.collect()
        } else {
            vec![given.to_owned()]
        };
        for id in &ids {
            (0..members).for_each(|_| crowd.open(id, ""));
        }
        let others = options.number("others", 0);
        let mut id = String::new();
        for number in 0..others {
            if number.is_multiple_of(10) {
                id = http::new_conversation(options, ids.len() + number);
            }
            crowd.open(&id, "");
        }
        let talking = ids.len() * members;
        let conversation = |id: String| Conversation {
            template: Template::new(spoken, &id),
            id,
            said: Vec::new(),
        };
        Talk {
            crowd,
            conversations: ids.into_iter().map(conversation).collect(),
            members,
            talkers: options.number("talkers", 1).min(members),
            in_flight: options.number("in-flight", 1),
            seen: vec![Seen::default(); talking],
            heard_itself: vec![Instant::now(); talking],
            window: Window::default(),
        }
    }

    /// The first words, if what follows is said in answer.
    fn prompt(&mut self, rate: f64) {
        if rate > 0.0 {
            self.in_flight = 0;
        }
        for talker in self.all_talkers() {
            self.say_all(talker);
        }
    }

    /// The sockets that talk.
    fn all_talkers(&self) -> Vec<usize> {
        let first = (0..self.conversations.len()).map(|number| number * self.members);
        first
            .flat_map(|first| first..first + self.talkers)
            .collect()
    }

    fn say_all(&mut self, talker: usize) {
        for _ in 0..self.in_flight {
            self.say(talker, Instant::now());
        }
    }

    fn say(&mut self, by: usize, at: Instant) {
        let Conversation { said, template, .. } = &mut self.conversations[by / self.members];
        self.crowd.send(by, template.numbered(said.len()));
        said.push(Said { at, by });
    }

    fn go_on(&mut self, end: Instant, pace: &mut Pace) {
        let mut heard = Vec::new();
        let mut look = Instant::now() + LOST;
        loop {
            let now = Instant::now();
            if now >= end {
                return;
            }
            while let Some(due) = pace.due().filter(|due| *due <= now) {
                self.say(self.turn_of(pace.said as usize), due);
                pace.said += 1;
            }
            if now >= look {
                look = now + LOST / 3;
                self.go_on_without_answer(now);
            }
            let next = pace.due().unwrap_or(end).min(end).min(look);
            self.listen(next.saturating_duration_since(now), &mut heard);
        }
    }

    /// Whose turn it is: conversations take turns, and in them their talkers.
    fn turn_of(&self, number: usize) -> usize {
        let conversations = self.conversations.len();
        let talker = number / conversations % self.talkers;
        number % conversations * self.members + talker
    }

    fn go_on_without_answer(&mut self, now: Instant) {
        for talker in self.all_talkers() {
            if now.duration_since(self.heard_itself[talker]) > LOST {
                self.heard_itself[talker] = now;
                self.say_all(talker);
            }
        }
    }

    fn listen(&mut self, longest: Duration, heard: &mut Vec<Heard>) {
        self.crowd.turn(longest, heard);
        let now = Instant::now();
        for Heard { socket, number } in heard.drain(..) {
            let Some(seen) = self.seen.get_mut(socket) else {
                continue;
            };
            seen.note(number);
            let said = &self.conversations[socket / self.members].said;
            let Some(&Said { at, by }) = said.get(number) else {
                continue;
            };
            if self.window.open {
                self.window.deliveries += 1;
                self.window.messages += usize::from(by == socket);
                let latency = now.duration_since(at).as_secs_f64();
                self.window.latencies.push(latency);
            }
            if by == socket {
                self.heard_itself[socket] = now;
                if self.in_flight > 0 {
                    self.say(socket, now);
                }
            }
        }
    }

    /// Waits until everything has been heard, or nothing more comes.
    fn settle(&mut self) {
        self.in_flight = 0;
        let mut heard = Vec::new();
        let mut last = Instant::now();
        let mut before = usize::MAX;
        while self.missed().0 > 0 && last.elapsed() < SETTLED {
            self.listen(Duration::from_millis(100), &mut heard);
            let missed = self.missed().0;
            if missed != before {
                before = missed;
                last = Instant::now();
            }
        }
    }

    /// Deliveries that are missing, and those that came more than once.
    fn missed(&self) -> (usize, usize) {
        let of = |(socket, seen): (usize, &Seen)| {
            let said = self.conversations[socket / self.members].said.len();
            (said - seen.count, seen.twice)
        };
        let each = self.seen.iter().enumerate().map(of);
        each.fold((0, 0), |(lost, twice), it| (lost + it.0, twice + it.1))
    }

    /// Messages that were said and are not stored, and those that are stored more than once. It
    /// cannot be seen in a conversation that was there before, and the tutorial stores nothing.
    fn not_stored(&self, options: &Options) -> (usize, usize) {
        if !options.text("conversation").is_empty() || options.spoken() == Spoken::Tutorial {
            return (0, 0);
        }
        let of = |conversation: &Conversation| {
            let path = format!("/api/chat/conversations/{}/messages/", conversation.id);
            let body = http::request(options.to(), "GET", &path, "");
            stored(&body, conversation.said.len())
        };
        let said = |conversation: &&Conversation| !conversation.said.is_empty();
        let each = self.conversations.iter().filter(said).map(of);
        each.fold((0, 0), |(lost, twice), it| (lost + it.0, twice + it.1))
    }
}
