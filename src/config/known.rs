//! The names of settings: which are known, and which was meant.

use super::{Config, OptionDoc};

/// Returns the option of exactly this dotted name.
pub(super) fn find(key: &str) -> Option<&'static OptionDoc> {
    Config::options().find(|option| option.key == key)
}

/// The option whose value is in the file that this name sets: `store.url` for `store.url_file`.
pub(super) fn find_by_file(key: &str) -> Option<&'static OptionDoc> {
    find(key.strip_suffix("_file")?).filter(|option| option.may_come_from_a_file())
}

/// Returns the known name most like `key`: a few letters off, or right but in the wrong section.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    /// Longer than any name with a few letters too many; keeps the work small.
    const MAX_LEN: usize = 60;
    if key.len() > MAX_LEN {
        return None;
    }
    let last = key.rsplit('.').next().unwrap_or(key);
    Config::options()
        .map(|option| {
            let whole = edits(key, option.key);
            // A name in the wrong section, or without one, is as near as two letters.
            let name = edits(last, option.name()) + 2;
            (whole.min(name), option.key)
        })
        .min()
        .filter(|(distance, found)| *distance <= 3 && *distance < found.len() / 2)
        .map(|(_, found)| found)
}

/// Letters to insert, delete or change to get from `a` to `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("ws.bind", "ws.bind"), 0);
    }

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        assert_eq!(nearest("server.bnid"), Some("server.bind"));
        assert_eq!(nearest("layer.capcity"), Some("layer.capacity"));
        assert_eq!(nearest("server.history_limit"), Some("ws.history_limit"));
        assert_eq!(nearest("max_connections"), Some("server.max_connections"));
    }

    #[test]
    fn a_name_like_no_other_finds_none() {
        assert_eq!(nearest("colour.of.the.sky"), None);
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest(&"server.bind".repeat(100)), None);
    }
}
