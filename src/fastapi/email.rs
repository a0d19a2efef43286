//! E-mail addresses as pydantic's `EmailStr` takes them: the rules of email-validator 2.3, without
//! a look at DNS.
//!
//! Internationalized domains are checked by the rules of UTS 46. The reasons for refusing one are
//! shorter than those of Python's `idna`.

mod domain;
mod split;

use std::{borrow::Cow, collections::BTreeSet};

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use self::split::{SplitAddress, split};
use crate::{
    config::Generation,
    python::pystr::{is_printable, is_space},
};

/// Characters of the longest text that is looked at.
const MAX_TEXT: usize = 2048;

/// Bytes of the longest address.
const MAX_ADDRESS: usize = 254;

/// Mailboxes whose names are put into lower case (RFC 2142).
const ROLES: [&str; 14] = [
    "info",
    "marketing",
    "sales",
    "support",
    "abuse",
    "noc",
    "security",
    "postmaster",
    "hostmaster",
    "usenet",
    "news",
    "webmaster",
    "www",
    "uucp",
];

/// Why a text is no address, in the words of email-validator.
type Reason = Cow<'static, str>;

/// Returns the normalized form of an address.
///
/// # Errors
/// The reason for refusing it.
pub fn normalized(text: &str, generation: Generation) -> Result<String, Reason> {
    if text.chars().count() > MAX_TEXT {
        return Err(format!("Length must not exceed {MAX_TEXT} characters").into());
    }
    if generation != Generation::V0_115 && text.contains(['\r', '\n']) {
        return Err("Carriage return and line feed characters are not allowed".into());
    }
    let text = split::named(text, generation).unwrap_or(text);
    let address = split(text.trim_matches(is_space))?;
    let mut local = local_part(&address.local, address.is_quoted)?;
    let composed: String = address.local.nfc().collect();
    if composed != address.local {
        local = local_part(&composed, address.is_quoted)
            .map_err(|reason| format!("After Unicode normalization: {reason}"))?;
    }
    if address.is_quoted {
        return Err("Quoting the part before the @-sign is not allowed here.".into());
    }
    if ROLES.contains(&local.to_ascii_lowercase().as_str()) {
        local.make_ascii_lowercase();
    }
    if address.domain.is_empty() {
        return Err("There must be something after the @-sign.".into());
    }
    let domain = domain::normalized(&address.domain)?;
    let whole = format!("{local}@{}", domain.shown);
    check_length(&address, &whole, &format!("{local}@{}", domain.ascii))?;
    if address.is_named {
        let reason =
            "A display name and angle brackets around the email address are not permitted here.";
        return Err(reason.into());
    }
    Ok(whole)
}

/// Checks the part before the @-sign; returns it.
fn local_part(local: &str, is_quoted: bool) -> Result<String, Reason> {
    if local.is_empty() {
        return Err("There must be something before the @-sign.".into());
    }
    let is_atom = |c: char| is_atext(c) || !c.is_ascii();
    let atoms = || local.split('.').all(|atom| !atom.is_empty());
    if local.chars().all(|c| is_atom(c) || c == '.') && atoms() {
        if !local.is_ascii() {
            check_safe(local, false)?;
        }
        return Ok(local.to_owned());
    }
    if is_quoted {
        let bad = shown(local, |c| !(' '..='~').contains(&c) && c < '\u{80}');
        if let Some(bad) = bad {
            return Err(format!(
                "The email address contains invalid characters in quotes before the @-sign: {bad}."
            )
            .into());
        }
        check_safe(local, true)?;
        return Ok(local.to_owned());
    }
    if let Some(bad) = shown(local, |c| !is_atom(c) && c != '.') {
        return Err(format!(
            "The email address contains invalid characters before the @-sign: {bad}."
        )
        .into());
    }
    Err(if local.ends_with('.') {
        "An email address cannot have a period immediately before the @-sign."
    } else if local.starts_with('.') {
        "An email address cannot start with a period."
    } else {
        TWO_PERIODS
    }
    .into())
}

const TWO_PERIODS: &str = "An email address cannot have two periods in a row.";

/// A character of an atom (RFC 5322, 3.2.3).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_!#$%&'*+-/=?^`{|}~".contains(c)
}

/// Refuses characters that cannot be seen, and marks without a letter before them.
fn check_safe(text: &str, spaces: bool) -> Result<(), Reason> {
    let is_first_mark = text.chars().next().is_some_and(is_combining_mark);
    let first = text.chars().next().filter(|_| is_first_mark);
    let bad = shown(text, |c| {
        let is_space = c != '\u{2028}' && c != '\u{2029}' && is_space(c) && !c.is_control();
        Some(c) == first || !(is_printable(c.into()) && c != ' ' || spaces && is_space)
    });
    match bad {
        Some(bad) => Err(format!("The email address contains unsafe characters: {bad}.").into()),
        None => Ok(()),
    }
}

/// Returns the characters that are bad as an error shows them, each once; `None` if there are none.
fn shown(text: &str, is_bad: impl Fn(char) -> bool) -> Option<String> {
    let bad: BTreeSet<_> = text.chars().filter(|c| is_bad(*c)).map(display).collect();
    let bad: Vec<_> = bad.into_iter().collect();
    (!bad.is_empty()).then(|| bad.join(", "))
}

/// Returns a character as an error shows it: itself in quotes, or its name.
fn display(c: char) -> String {
    let is_visible = is_printable(c.into()) && c != ' ' && !is_combining_mark(c);
    match c {
        '\\' => "\"\\\"".to_owned(),
        '\'' => "\"'\"".to_owned(),
        c if is_visible => format!("'{c}'"),
        c => {
            let point = u32::from(c);
            let found = NAMES.iter().find(|(named, _)| *named == c);
            found.map_or_else(|| format!("U+{point:04X}"), |(_, name)| (*name).to_owned())
        }
    }
}

/// Names of characters that cannot be seen and are met in addresses. Others are shown by number.
const NAMES: [(char, &str); 10] = [
    (' ', "SPACE"),
    ('\u{a0}', "NO-BREAK SPACE"),
    ('\u{ad}', "SOFT HYPHEN"),
    ('\u{301}', "COMBINING ACUTE ACCENT"),
    ('\u{200b}', "ZERO WIDTH SPACE"),
    ('\u{200c}', "ZERO WIDTH NON-JOINER"),
    ('\u{200d}', "ZERO WIDTH JOINER"),
    ('\u{2028}', "LINE SEPARATOR"),
    ('\u{3000}', "IDEOGRAPHIC SPACE"),
    ('\u{feff}', "ZERO WIDTH NO-BREAK SPACE"),
];

/// Checks the length of an address as it was sent, normalized, and with its domain in ASCII.
fn check_length(address: &SplitAddress, whole: &str, ascii: &str) -> Result<(), Reason> {
    let sent = format!("{}@{}", address.sent_local, address.domain);
    let forms = [
        (sent.as_str(), None),
        (whole, Some("after normalization")),
        (
            ascii,
            Some("when the part after the @-sign is converted to IDNA ASCII"),
        ),
    ];
    for (form, when) in forms {
        let Some(over) = form.len().checked_sub(MAX_ADDRESS).filter(|it| *it > 0) else {
            continue;
        };
        let reason = match when {
            Some(when) if over == 1 => format!("{when} (1 byte too many)"),
            Some(when) => format!("{when} ({over} bytes too many)"),
            None => too_many_bytes(form, over),
        };
        return Err(format!("The email address is too long {reason}.").into());
    }
    Ok(())
}

/// Returns the end of an error about a length in bytes, as a range of characters.
fn too_many_bytes(text: &str, over: usize) -> String {
    let widest = text.chars().map(char::len_utf8).max().unwrap_or(1);
    let least = (over / widest).max(1);
    if least == over {
        return too_many(over);
    }
    format!("({least}-{over} characters too many)")
}

/// Returns the end of an error about a length.
fn too_many(over: usize) -> String {
    let characters = if over > 1 { "characters" } else { "character" };
    format!("({over} {characters} too many)")
}
