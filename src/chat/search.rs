//! Texts by which messages are found.
//!
//! Two texts that look alike are one: [`searchable`] has the rule, and every search holds a message
//! against it at last. An index of a database only has to offer every message that the rule finds. It
//! is asked for the runs of letters of the text ([`letters`]), as they are once each character is taken
//! apart (NFKD). Taken apart, a syllable of Korean is two or three letters, so that a word of two
//! syllables is long enough for an index of three characters.

use unicode_normalization::{UnicodeNormalization as _, char::canonical_combining_class};

/// Returns a text by which others are found: capitals are as small letters, `ß` is as `ss`, and
/// characters that Unicode takes for forms of the same one (NFKC) are one, as the letters and the
/// syllables of Korean, and wide letters.
#[must_use]
pub fn searchable(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let normal: String = text.nfkc().collect();
    // There and back is what folding does to the letters that have several small or large forms.
    normal.to_uppercase().to_lowercase()
}

/// Returns the runs of letters and digits of a searchable text, taken apart. Each of them is in every
/// text that has the whole in it, once that is taken apart (NFKD), then in capitals, then in small
/// letters: marks end a run, as their order may change, and so does the sigma, whose small form
/// depends on what follows.
#[must_use]
pub fn letters(searchable: &str) -> Vec<String> {
    let apart: String = searchable.nfkd().collect();
    let runs = apart.split(|letter| !is_steady(letter));
    let runs = runs.filter(|run| !run.is_empty()).map(str::to_owned);
    runs.collect()
}

fn is_steady(letter: char) -> bool {
    letter.is_alphanumeric() && canonical_combining_class(letter) == 0 && !"σς".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_found() {
        for (text, other) in [
            ("Hello", "hELLO"),
            ("STRASSE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            ("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
            ("ＡＢＣ１２３", "abc123"),
            ("ﾊﾝｸﾞﾙ", "ハングル"),
            ("é", "e\u{301}"),
        ] {
            assert_eq!(searchable(text), searchable(other), "{text} {other}");
        }
        assert_ne!(searchable("e"), searchable("é"));
    }

    #[test]
    fn runs_of_letters_end_at_marks_and_everything_else() {
        assert_eq!(letters("a-b c_1"), ["a", "b", "c", "1"]);
        assert_eq!(letters("한글").concat().chars().count(), 6);
        assert_eq!(letters("café!"), ["cafe"]);
        assert_eq!(letters("οδος"), ["οδο"]);
        assert_eq!(letters("%_ \\"), [""; 0]);
    }

    /// An index takes a text apart first and changes its letters then, the rule does it the other way.
    #[test]
    fn every_character_that_is_found_is_offered_by_an_index() {
        for character in '\0'..=char::MAX {
            let text = format!("a{character}b");
            let apart: String = text.nfkd().collect();
            let indexed = apart.to_uppercase().to_lowercase();
            for run in letters(&searchable(&text)) {
                assert!(
                    indexed.contains(&run),
                    "{:x}: {run} {indexed}",
                    u32::from(character)
                );
            }
        }
    }
}
