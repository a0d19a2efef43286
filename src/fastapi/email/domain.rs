//! The part of an address after its @-sign.

use std::net::{Ipv4Addr, Ipv6Addr};

use unicode_normalization::char::is_combining_mark;

use super::{Reason, TWO_PERIODS, check_safe, shown, too_many};

/// Characters of the longest domain.
const MAX_DOMAIN: usize = 253;

/// Bytes of the longest part between two periods.
const MAX_LABEL: usize = 63;

/// Domains that no public mailbox is in.
const RESERVED: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

/// A domain in its two forms.
pub(super) struct Domain {
    pub ascii: String,
    pub shown: String,
}

/// Checks a domain and brings it into its normal form.
pub(super) fn normalized(domain: &str) -> Result<Domain, Reason> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return Err(refuse_literal(literal));
    }
    if let Some(over) = over(domain.chars().count(), MAX_DOMAIN) {
        return Err(too_long(over));
    }
    let is_bad = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-.".contains(c);
    if let Some(bad) = shown(domain, is_bad) {
        return Err(
            format!("The part after the @-sign contains invalid characters: {bad}.").into(),
        );
    }
    check_safe(domain, false)?;
    let mapped = mapped(domain)?;
    check_labels(&mapped)?;
    let ascii = if mapped.is_ascii() {
        mapped
    } else {
        mapped.split('.').try_for_each(check_letters)?;
        idna::domain_to_ascii_strict(&mapped).map_err(|_| NOT_ALLOWED)?
    };
    check_ascii(&ascii)?;
    let shown = if ascii.contains("xn--") {
        let (shown, valid) = idna::domain_to_unicode(&ascii);
        valid.map_err(|_| "The part after the @-sign is not valid IDNA (Invalid A-label).")?;
        shown
    } else {
        ascii.clone()
    };
    Ok(Domain { ascii, shown })
}

/// Puts a domain into lower case, and what other scripts have for a period into one.
fn mapped(domain: &str) -> Result<String, Reason> {
    if domain.is_ascii() {
        return Ok(domain.to_ascii_lowercase());
    }
    // Only what stands for a wrong character is an error here: the rest is checked later.
    let (mapped, _) = idna::domain_to_unicode(domain);
    if mapped.contains(char::REPLACEMENT_CHARACTER) {
        return Err(NOT_ALLOWED.into());
    }
    Ok(mapped)
}

const NOT_ALLOWED: &str = "The part after the @-sign is invalid (Codepoint not allowed).";

fn check_labels(domain: &str) -> Result<(), Reason> {
    let reason = if domain.ends_with('.') {
        "An email address cannot end with a period."
    } else if domain.starts_with('.') {
        "An email address cannot have a period immediately after the @-sign."
    } else if domain.contains("..") {
        TWO_PERIODS
    } else if domain.ends_with('-') {
        "An email address cannot end with a hyphen."
    } else if domain.starts_with('-') {
        "An email address cannot have a hyphen immediately after the @-sign."
    } else if domain.contains(".-") || domain.contains("-.") {
        "An email address cannot have a period and a hyphen next to each other."
    } else if domain.split('.').any(is_reserved_label) {
        "An email address cannot have two letters followed by two dashes immediately after the \
         @-sign or after a period, except Punycode."
    } else {
        return Ok(());
    };
    Err(reason.into())
}

/// Returns whether a label has dashes in its third and fourth place and is no Punycode.
fn is_reserved_label(label: &str) -> bool {
    let mut after = label.chars().skip(2);
    (after.next(), after.next()) == (Some('-'), Some('-')) && !label.starts_with("xn")
}

/// Refuses what is no letter, mark or digit: symbols are in no domain since IDNA 2008.
fn check_letters(label: &str) -> Result<(), Reason> {
    let is_bad = |c: char| !c.is_ascii() && !c.is_alphanumeric() && !is_combining_mark(c);
    let mut numbered = (1..).zip(label.chars());
    match numbered.find(|(_, c)| is_bad(*c)) {
        Some((place, c)) => Err(format!(
            "The part after the @-sign is invalid (Codepoint U+{:04X} at position {place} of \
             '{label}' not allowed).",
            u32::from(c)
        )
        .into()),
        None => Ok(()),
    }
}

fn check_ascii(domain: &str) -> Result<(), Reason> {
    if let Some(over) = over(domain.len(), MAX_DOMAIN) {
        return Err(too_long(over));
    }
    let mut labels = domain.split('.');
    if let Some(over) = labels.find_map(|label| over(label.len(), MAX_LABEL)) {
        let many = too_many(over);
        return Err(format!(
            "After the @-sign, periods cannot be separated by so many characters {many}."
        )
        .into());
    }
    let Some((_, last)) = domain.rsplit_once('.') else {
        return Err("The part after the @-sign is not valid. It should have a period.".into());
    };
    if !last.ends_with(|c: char| c.is_ascii_alphabetic()) {
        let reason =
            "The part after the @-sign is not valid. It is not within a valid top-level domain.";
        return Err(reason.into());
    }
    if RESERVED.contains(&last) {
        let reason = "The part after the @-sign is a special-use or reserved name that cannot be \
                      used with email.";
        return Err(reason.into());
    }
    Ok(())
}

fn over(length: usize, most: usize) -> Option<usize> {
    length.checked_sub(most).filter(|over| *over > 0)
}

fn too_long(over: usize) -> Reason {
    let many = too_many(over);
    format!("The email address is too long after the @-sign {many}.").into()
}

/// Returns the reason for refusing an address in brackets, which is refused in every form.
fn refuse_literal(literal: &str) -> Reason {
    let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if literal.parse::<Ipv4Addr>().is_ok() || literal.strip_prefix("IPv6:").is_some_and(is_v6) {
        return "A bracketed IP address after the @-sign is not allowed here.".into();
    }
    if literal.starts_with("IPv6:") {
        return "The IPv6 address in brackets after the @-sign is not valid.".into();
    }
    if literal.contains(':') {
        let reason =
            "The part after the @-sign contains an invalid address literal tag in brackets.";
        return reason.into();
    }
    "The part after the @-sign in brackets is not an IPv4 address and has no address literal tag."
        .into()
}
