//! The limit of open files and sockets, and the number of connections that fits.

use std::fmt;
use std::fs;
use std::path::Path;

use super::{Config, Database, Loaded};

/// Files open besides connections and the database: the program's own, listeners, those who read
/// the metrics, Redis, the issuer of tokens, the collector of traces, and a few spare ones.
const OWN: u64 = 128;

/// Most connections past `server.max_connections`, for one answer each.
const ONE_ANSWER: u64 = 256;

/// Reads the soft limit of files that the process may have open; `root` is `/`. None if there is no
/// limit, or it cannot be found out.
#[must_use]
pub fn limit(root: &Path) -> Option<u64> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let named = |line: &&str| line.starts_with("Max open files");
    let line = limits.lines().find(named)?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// `server.max_connections` was more than the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowered {
    pub from: usize,
    pub to: usize,
    /// The soft limit of open files.
    pub limit: u64,
    /// False if the number that was lowered is the default.
    pub was_set: bool,
}

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lowered {
            from, to, limit, ..
        } = self;
        write!(
            f,
            "server.max_connections is lowered from {from} to {to}, as the process may have {limit} \
             files and sockets open: raise that limit (LimitNOFILE= of systemd, --ulimit nofile= of a \
             container, ulimit -n)"
        )
    }
}

impl Loaded {
    /// Lowers `server.max_connections` to what fits into so many open files.
    #[must_use]
    pub fn fit_to_files(mut self, limit: u64) -> Self {
        let fitting = usize::try_from(connections(&self.config, limit)).unwrap_or(usize::MAX);
        let most = &mut self.config.server.max_connections;
        if *most <= fitting {
            return self;
        }
        let mut lowered = Lowered {
            from: *most,
            to: fitting,
            limit,
            was_set: false,
        };
        *most = fitting;
        let key = "server.max_connections";
        if let Some(set) = self.effective.iter_mut().find(|set| set.key == key) {
            lowered.was_set = set.origin != "default";
            set.value = fitting.to_string();
            set.origin = format!("{}, lowered for {limit} open files", set.origin);
        }
        self.lowered = Some(lowered);
        self
    }
}

/// Computes the connections of clients that fit into so many open files. One that is passed on to
/// Django has another beside it.
fn connections(config: &Config, limit: u64) -> u64 {
    let pool = u64::try_from(config.store.pool_size).unwrap_or(u64::MAX);
    let database = match config.store.url.database() {
        // The file, `-wal` and `-shm`.
        Database::Sqlite => pool.saturating_add(1).saturating_mul(3),
        Database::Mysql | Database::Postgres => pool.saturating_add(1),
    };
    let taken = OWN.saturating_add(database) + ONE_ANSWER.min(limit / 8);
    let left = limit.saturating_sub(taken);
    let each = if config.gateway.upstream.is_some() {
        2
    } else {
        1
    };
    (left / each).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(flags: &[(&str, &str)], limit: u64) -> Loaded {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let flags: Vec<_> = flags.iter().map(own).collect();
        let loaded = Config::load(None, std::iter::empty(), &flags).unwrap();
        loaded.fit_to_files(limit)
    }

    #[test]
    fn connections_fit_into_the_files_that_may_be_open() {
        for (flags, limit, expected) in [
            (&[][..], 1024, 735),
            (&[], 65_536, 65_119),
            (&[], 1_048_576, 100_000),
            (&[], 100, 1),
            (&[("gateway.upstream", "http://a")], 1024, 367),
            (&[("store.url", "mysql://a/b")], 1024, 757),
            (&[("server.max_connections", "500")], 1024, 500),
        ] {
            let loaded = fitted(flags, limit);
            let most = loaded.config.server.max_connections;
            assert_eq!(most, expected, "{flags:?} {limit}");
            let set = loaded.find("server.max_connections").unwrap();
            assert_eq!(set.value, expected.to_string());
        }
    }

    #[test]
    fn what_was_lowered_is_reported_with_what_to_do() {
        let lowered = fitted(&[], 1024).lowered.unwrap();
        assert!(!lowered.was_set);
        let text = lowered.to_string();
        assert!(text.contains("from 100000 to 735"), "{text}");
        let set = [("server.max_connections", "5000")];
        assert!(fitted(&set, 1024).lowered.unwrap().was_set);
        assert_eq!(fitted(&set, 65_536).lowered, None);
    }

    #[test]
    fn the_soft_limit_counts() {
        let root = std::env::temp_dir().join(format!("chatferry-files-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let of = |line: &str| {
            let head =
                "Limit                     Soft Limit           Hard Limit           Units\n";
            fs::write(root.join("proc/self/limits"), format!("{head}{line}\n")).unwrap();
            limit(&root)
        };
        assert_eq!(
            of("Max open files            1024                 4096                 files"),
            Some(1024)
        );
        assert_eq!(
            of("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(
            of("Max stack size            8388608              unlimited            bytes"),
            None
        );
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(limit(&root), None);
    }
}
