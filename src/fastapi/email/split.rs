//! Splits a text into the parts of an address.

use unicode_normalization::UnicodeNormalization as _;

use super::{Reason, check_safe, is_atext, shown};
use crate::{config::Generation, python::pystr::is_space};

/// An address in parts.
pub(super) struct SplitAddress {
    /// Part before the @-sign, without quotes and escapes.
    pub local: String,
    /// The same as it was sent.
    pub sent_local: String,
    pub is_quoted: bool,
    pub domain: String,
    /// It stands in angle brackets.
    pub is_named: bool,
}

/// Returns the address of `Name <address>`, which pydantic takes by itself; `None` for other texts.
pub(super) fn named(text: &str, generation: Generation) -> Option<&str> {
    let has_periods = generation != Generation::V0_115;
    let inner = text.trim_matches(is_space).strip_suffix('>')?;
    let mut starts = inner.match_indices('<').map(|(at, _)| at);
    let is_named = |at: &usize| {
        let name = inner.get(..*at).unwrap_or_default().trim_matches(is_space);
        let quoted = name
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let words = || name.split(is_space).flat_map(str::chars);
        quoted.is_some_and(|inner| !inner.is_empty())
            || words().all(|c| is_atext(c) || c.is_alphanumeric() || c == '.' && has_periods)
    };
    let at = starts.find(is_named)?;
    inner
        .get(at + 1..)
        .filter(|address| !address.is_empty() && !address.contains('\n'))
}

/// Splits an address, which may stand in angle brackets after a name.
pub(super) fn split(text: &str) -> Result<SplitAddress, Reason> {
    let (left, right) = until(text, &['@', '<'])?;
    if !right.starts_with('<') {
        return parts(left, right, false);
    }
    let (name, is_quoted) = unquote(left.trim_end_matches(is_space))?;
    if !is_quoted && let Some(bad) = shown(&name, |c| !is_atext(c) && c != ' ') {
        return Err(format!(
            "The display name contains invalid characters when not quoted: {bad}."
        )
        .into());
    }
    check_safe(&name, true)?;
    if !right.contains('>') {
        return Err(
            "An open angle bracket at the start of the email address has to be followed by a \
             close angle bracket at the end."
                .into(),
        );
    }
    let inner = right.trim_end_matches(' ');
    let Some(inner) = inner.strip_suffix('>') else {
        return Err("There can't be anything after the email address.".into());
    };
    let inner = inner.strip_prefix('<').unwrap_or(inner);
    let (local, domain) = until(inner, &['@'])?;
    parts(local, domain, true)
}

fn parts(local: &str, domain: &str, is_named: bool) -> Result<SplitAddress, Reason> {
    let (unquoted, is_quoted) = unquote(local)?;
    Ok(SplitAddress {
        local: unquoted,
        sent_local: local.to_owned(),
        is_quoted,
        domain: domain.strip_prefix('@').unwrap_or(domain).to_owned(),
        is_named,
    })
}

/// Splits before the first of some characters that is not within quotes, and that no mark after it
/// makes another character.
fn until<'a>(text: &'a str, ends: &[char]) -> Result<(&'a str, &'a str), Reason> {
    let (mut inside, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        if rest.chars().take(32).nfc().next() != Some(c) {
            continue;
        }
        if inside {
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
        } else if c == '"' {
            inside = true;
        } else if ends.contains(&c) {
            return Ok(text.split_at(at));
        }
    }
    Err(if text.contains('＠') {
        "The email address has the \"full-width\" at-sign (@) character instead of a regular \
         at-sign."
    } else if text.contains('﹫') {
        "The email address has the \"small commercial at\" character instead of a regular at-sign."
    } else {
        "An email address must have an @-sign."
    }
    .into())
}

/// Returns a text without its quotes and escapes, and whether there were quotes.
fn unquote(text: &str) -> Result<(String, bool), Reason> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Ok((text.to_owned(), false));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                let after = quoted.get(at + 1..).unwrap_or_default();
                if !after.is_empty() {
                    let shown: Vec<_> = after.chars().map(super::display).collect();
                    let shown = shown.join(", ");
                    return Err(
                        format!("Extra character(s) found after close quote: {shown}").into(),
                    );
                }
                break;
            }
            _ => value.push(c),
        }
    }
    Ok((value, true))
}
