//! `chatferry config`: the settings in force as a TOML file, with the origin of each beside it.

use std::fmt::Write;

use crate::config::Effective;

/// Column of the origins, where the value before is short enough.
const COLUMN: usize = 40;

/// Every option as it is in force, by section.
pub(super) fn in_force(effective: &[Effective]) -> String {
    let mut text = String::new();
    let mut open = "";
    for Effective { key, value, origin } in effective {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        if section != open {
            let gap = if open.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            open = section;
        }
        let line = format!("{name} = {value}");
        let _ = writeln!(text, "{line:<COLUMN$} # {}", one_line(origin));
    }
    text
}

/// Returns text without control characters, as a file's name may hold any.
pub(super) fn one_line(origin: &str) -> String {
    origin.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::in_force;
    use crate::config::Config;

    #[test]
    fn the_listing_is_a_file_of_the_same_settings() {
        let flags = [
            ("log.level", "debug,chatferry::ws=trace"),
            ("ws.allowed_origins", "same,https://a.example"),
            ("store.url", "sqlite://채팅 \"1\"\\\t.db"),
        ];
        let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let loaded = Config::load(None, std::iter::empty(), &flags).unwrap();
        let listing = in_force(&loaded.effective);
        assert!(
            listing.contains("\n[store.tables]\nconversations = \"conversations\""),
            "{listing}"
        );
        assert!(
            listing.contains("level = \"debug,chatferry::ws=trace\"      # flag --set"),
            "{listing}"
        );

        let file = Some((Path::new("a\nb.toml"), listing.as_str()));
        let again = Config::load(file, std::iter::empty(), &[]).unwrap();
        assert!(again.warnings.is_empty());
        let values = |loaded: &crate::config::Loaded| -> Vec<String> {
            loaded.effective.iter().map(|e| e.value.clone()).collect()
        };
        assert_eq!(values(&again), values(&loaded));
        assert!(in_force(&again.effective).contains("# file a\u{fffd}b.toml"));
    }
}
