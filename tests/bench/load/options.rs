//! What the client is told on its command line.

use std::{collections::HashMap, net::SocketAddr, str::FromStr, time::Duration};

use super::wire::Spoken;

/// `--NAME VALUE` pairs; each mode reads those that mean something to it.
pub struct Options(HashMap<String, String>);

impl Options {
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = HashMap::new();
        while let Some(name) = arguments.next() {
            let name = name.strip_prefix("--").expect("--NAME VALUE");
            if name != "bench" {
                options.insert(name.to_owned(), arguments.next().expect("a value"));
            }
        }
        Options(options)
    }

    pub fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        let value = self.0.get(name)?;
        Some(value.parse().ok().expect("a value of its kind"))
    }

    pub fn number(&self, name: &str, default: usize) -> usize {
        self.get(name).unwrap_or(default)
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Where the server listens.
    pub fn to(&self) -> SocketAddr {
        self.get("to").expect("--to ADDRESS:PORT")
    }

    /// The protocol that sockets speak: `--protocol chatferry.v1`, the tutorial's, or Django's.
    pub fn spoken(&self) -> Spoken {
        match self.text("protocol") {
            "" => Spoken::Django,
            "chatferry.v1" => Spoken::Native,
            "tutorial" => Spoken::Tutorial,
            other => panic!("no protocol {other}"),
        }
    }

    /// How long it is measured.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.get("seconds").unwrap_or(5.0))
    }

    /// The processes of the server.
    pub fn pids(&self) -> Vec<u32> {
        let pids = self.text("pids").split(',').filter(|pid| !pid.is_empty());
        pids.map(|pid| pid.parse().unwrap()).collect()
    }
}
