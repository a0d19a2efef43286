//! The form of a value: whether it is the one an option asks for, how a variable's text gets it,
//! and how it is shown again.

use config::ValueKind;

use super::declare::{OptionDoc, SettingForm};
use super::secret::{MASK, masked};

/// Returns a value as it would stand in a file, its secrets masked.
pub(super) fn shown(option: &OptionDoc, kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "\"\"".to_owned(),
        ValueKind::Array(items) if option.is_secret() => {
            let items: Vec<String> = items.iter().map(|_| format!("{MASK:?}")).collect();
            format!("[{}]", items.join(", "))
        }
        _ if option.is_secret() => format!("{MASK:?}"),
        ValueKind::String(text) => quoted(text),
        ValueKind::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| quoted(&item.kind.to_string()))
                .collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(_) => "{ … }".to_owned(),
        kind => kind.to_string(),
    }
}

/// Returns a TOML basic string. Control characters are the only ones Rust and TOML escape
/// differently.
pub(super) fn quoted(text: &str) -> String {
    let escaped: String = masked(text)
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)).chars().collect(),
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}

/// What should have been there, if the value has not the form or the size the option asks for.
pub(super) fn misfit(option: &OptionDoc, kind: &ValueKind) -> Option<String> {
    match (option.form(), kind, option.range) {
        (SettingForm::Number, ValueKind::I64(number), Some((min, max)))
            if u64::try_from(*number).is_ok_and(|n| (min..=max).contains(&n)) =>
        {
            None
        }
        (SettingForm::Number, _, Some((min, max))) => {
            Some(format!("a whole number from {min} to {max}"))
        }
        (SettingForm::Number, ValueKind::I64(_), None)
        | (SettingForm::Flag, ValueKind::Boolean(_), _)
        | (SettingForm::Text, ValueKind::String(_), _) => None,
        (SettingForm::List, ValueKind::Array(items), _)
            if items
                .iter()
                .all(|item| matches!(item.kind, ValueKind::String(_))) =>
        {
            None
        }
        (SettingForm::Number, ..) => Some("a whole number".to_owned()),
        (SettingForm::Flag, ..) => Some("true or false".to_owned()),
        (SettingForm::Text, ..) => Some("a text".to_owned()),
        (SettingForm::List, ..) => Some("a list of texts".to_owned()),
    }
}

/// Returns the text of a file that holds nothing but the value, the items of a list on lines of
/// their own.
pub(super) fn from_file(option: &OptionDoc, text: &str) -> ValueKind {
    match option.form() {
        SettingForm::List => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>().into()
        }
        _ => typed(option, text.trim_end_matches(['\r', '\n'])),
    }
}

/// Returns the text of a variable or a flag in the form the option asks for, if it has it.
pub(super) fn typed(option: &OptionDoc, text: &str) -> ValueKind {
    let parsed = match option.form() {
        SettingForm::Number => text.trim().parse().ok().map(ValueKind::I64),
        SettingForm::Flag => match text.trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(ValueKind::Boolean(true)),
            "false" | "0" | "no" | "off" => Some(ValueKind::Boolean(false)),
            _ => None,
        },
        SettingForm::List => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Some(items.map(str::to_owned).collect::<Vec<_>>().into())
        }
        SettingForm::Text => None,
    };
    parsed.unwrap_or_else(|| text.into())
}
