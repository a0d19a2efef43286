//! How much memory the process may take, and the default that follows it.
//!
//! The number of worker threads needs nothing of the kind: the runtime asks the system how many
//! processors there are for us, which looks at quotas and affinity.

use std::fs;
use std::path::Path;

use super::{Loaded, replace_default};

const MIB: u64 = 1024 * 1024;

/// The default share of the memory that bodies may take together, that of answers, and that of an image.
/// Each byte of the first two may cost two, and the rest is for sockets and what they wait for.
const SHARE: u64 = 8;

/// The smallest value that the settings take.
const LEAST_MIB: u32 = 8;

/// Returns the least of the memory limits of the control groups the process is in, in bytes, of
/// version 2 and 1; `root` is `/`. `None` if there is no limit. Version 1 says so by a number that
/// nothing reaches.
#[must_use]
pub fn limit(root: &Path) -> Option<u64> {
    // A line is `0::/path` for version 2, `N:controllers:/path` for version 1.
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next().unwrap_or_default();
        let path = parts.next().unwrap_or_default().trim_start_matches('/');
        let (mounted, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let has_memory = controllers.is_empty() || controllers.split(',').any(|it| it == "memory");
        // The limit of a group holds for the groups in it. A container may see its own group as the
        // root, and be given a path that it does not see.
        let groups = Path::new(path).ancestors().filter(move |_| has_memory);
        groups.filter_map(move |group| {
            let text = fs::read_to_string(root.join(mounted).join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        })
    });
    limits.min()
}

impl Loaded {
    /// Lowers `server.body_memory_mib`, `server.answer_memory_mib` and `attachments.thumbnail_mib` to
    /// their share of so many bytes, where they have their defaults.
    #[must_use]
    pub fn fit_to(mut self, memory: u64) -> Self {
        let share = u32::try_from(memory / MIB / SHARE).unwrap_or(u32::MAX);
        let share = share.max(LEAST_MIB);
        let server = &mut self.config.server;
        let thumbnail = &mut self.config.attachments.thumbnail_mib;
        for (key, value) in [
            ("attachments.thumbnail_mib", thumbnail),
            ("server.body_memory_mib", &mut server.body_memory_mib),
            ("server.answer_memory_mib", &mut server.answer_memory_mib),
        ] {
            let why = format!("for {} MiB of memory", memory / MIB);
            if share < *value && replace_default(&mut self.effective, key, &share, &why) {
                *value = share;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::config::Config;

    /// Returns the limit on a machine with these files.
    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        let root = std::env::temp_dir().join(format!("chatferry-memory-{}", Uuid::new_v4()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let limit = limit(&root);
        let _ = fs::remove_dir_all(root);
        limit
    }

    #[test]
    fn a_container_is_the_root_of_what_it_sees() {
        let max = ("sys/fs/cgroup/memory.max", "134217728\n");
        assert_eq!(
            limit_of(&[("proc/self/cgroup", "0::/\n"), max]),
            Some(128 * MIB)
        );
        let elsewhere = ("proc/self/cgroup", "0::/../../docker/0a1b\n");
        assert_eq!(limit_of(&[elsewhere, max]), Some(128 * MIB));
        let first = [
            (
                "proc/self/cgroup",
                "5:cpu:/docker/0a\n4:memory:/docker/0a\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
        ];
        assert_eq!(limit_of(&first), Some(128 * MIB));
    }

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let files = [
            ("proc/self/cgroup", "0::/chat.slice/chatferry.service\n"),
            (
                "sys/fs/cgroup/chat.slice/chatferry.service/memory.max",
                "max\n",
            ),
            ("sys/fs/cgroup/chat.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit_of(&files), Some(1024 * MIB));
    }

    #[test]
    fn without_a_limit_there_is_none() {
        assert_eq!(limit_of(&[]), None);
        let files = [
            ("proc/self/cgroup", "3:cpu,cpuacct:/\n0::/\nno line\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"),
        ];
        assert_eq!(limit_of(&files), None, "memory is in no group of version 1");
    }

    /// Returns the value and its origin with so much memory.
    fn body_memory(flags: &[(&str, &str)], memory: u64) -> (u32, String) {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let flags: Vec<_> = flags.iter().map(own).collect();
        let loaded = Config::load(None, std::iter::empty(), &flags).unwrap();
        let loaded = loaded.fit_to(memory);
        let set = loaded.find("server.body_memory_mib").unwrap();
        let value = loaded.config.server.body_memory_mib;
        assert_eq!(set.value, value.to_string());
        (value, set.origin)
    }

    #[test]
    fn bodies_take_an_eighth_of_what_there_is() {
        let told = |text: &str| text.to_owned();
        let small = body_memory(&[], 128 * MIB);
        assert_eq!(small, (16, told("default for 128 MiB of memory")));
        assert_eq!(body_memory(&[], MIB).0, LEAST_MIB);
        for large in [2048 * MIB, u64::MAX] {
            assert_eq!(body_memory(&[], large), (256, told("default")));
        }
    }

    #[test]
    fn answers_take_an_eighth_as_well_and_so_does_an_image() {
        let loaded = Config::load(None, std::iter::empty(), &[]).unwrap();
        let loaded = loaded.fit_to(128 * MIB);
        assert_eq!(loaded.config.server.answer_memory_mib, 16);
        assert_eq!(loaded.config.attachments.thumbnail_mib, 16);
        for key in ["server.answer_memory_mib", "attachments.thumbnail_mib"] {
            let set = loaded.find(key).unwrap();
            assert_eq!(set.value, "16");
        }
    }

    #[test]
    fn what_somebody_has_set_stays() {
        let flags = [("server.body_memory_mib", "256")];
        let set = body_memory(&flags, 128 * MIB);
        assert_eq!(set, (256, "flag --set".to_owned()));
    }
}
