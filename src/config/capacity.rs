//! How many messages fit into a channel: the setting `channel_capacity`, an ordered list of
//! patterns of which the first that matches decides.
//!
//! Stands in for `BaseChannelLayer.compile_capacities` and `fnmatch.translate`.

use regex_lite::Regex;

/// `PATTERN=N`: a glob for the whole name, or `re:` and a regular expression for its beginning.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Regex,
    capacity: usize,
}

impl Rule {
    /// Reads one entry of the setting.
    ///
    /// # Errors
    /// A text that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "PATTERN=N, as in `http.request=200`, `specific.*=500` or \
            `re:http\\.(request|response)=200`";
        let (pattern, capacity) = text.rsplit_once('=').ok_or(EXPECTED)?;
        let capacity = capacity.trim().parse().map_err(|_| EXPECTED)?;
        let pattern = match pattern.trim().strip_prefix("re:") {
            Some(regex) => format!("^(?:{regex})"),
            None => translate(pattern.trim()),
        };
        let pattern = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Rule { pattern, capacity })
    }
}

/// Every rule, and what holds where none matches.
#[derive(Clone, Debug)]
pub struct Capacities {
    pub rules: Vec<Rule>,
    pub default: usize,
}

impl Capacities {
    /// Returns the capacity of a channel by its full name, `!` part included.
    #[must_use]
    pub fn of(&self, channel: &str) -> usize {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.pattern.is_match(channel));
        rule.map_or(self.default, |rule| rule.capacity)
    }
}

/// Returns the regular expression of a glob for a whole name.
fn translate(glob: &str) -> String {
    let mut out = String::from("(?s)^");
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => match class(rest.as_str()) {
                Some((class, after)) => {
                    out.push_str(&class);
                    rest = after.chars();
                }
                None => out.push_str("\\["),
            },
            c => out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('$');
    out
}

/// A set of characters as a regular expression has it, and what follows; `None` if it has no end.
/// A `]` that comes first belongs to the set.
fn class(text: &str) -> Option<(String, &str)> {
    let (not, set) = match text.strip_prefix('!') {
        Some(set) => ("^", set),
        None => ("", text),
    };
    let first = set.chars().next()?.len_utf8();
    let end = first + set.get(first..)?.find(']')?;
    let escaped: String = set[..end]
        .chars()
        .flat_map(|c| match c {
            '\\' | '[' | ']' | '^' | '&' | '~' | '|' => vec!['\\', c],
            c => vec![c],
        })
        .collect();
    Some((format!("[{not}{escaped}]"), &set[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacities(rules: &[&str]) -> Capacities {
        Capacities {
            rules: rules
                .iter()
                .map(|rule| Rule::parse(rule).unwrap())
                .collect(),
            default: 100,
        }
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let capacities = capacities(&["http.request=1", "http.*=2", "re:ws\\.s=3", "*=4"]);
        assert_eq!(capacities.of("http.request"), 1);
        assert_eq!(capacities.of("http.request!x"), 2);
        assert_eq!(
            capacities.of("ws.send!abc"),
            3,
            "a regex may match the beginning"
        );
        assert_eq!(capacities.of("xws.send"), 4);
    }

    #[test]
    fn a_glob_is_for_the_whole_name_and_minds_case() {
        let capacities = capacities(&["a?c=1", "b[0-2x]=2", "b[!y]=3", "c[]]=4", "d[=5"]);
        for (name, want) in [
            ("abc", 1),
            ("abcd", 100),
            ("Abc", 100),
            ("b1", 2),
            ("bx", 2),
            ("b9", 3),
            ("by", 100),
            ("c]", 4),
            ("d[", 5),
        ] {
            assert_eq!(capacities.of(name), want, "{name}");
        }
    }

    #[test]
    fn an_entry_without_a_number_is_refused() {
        for bad in ["a", "a=", "a=b", "=x", "re:(=1"] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }
}
