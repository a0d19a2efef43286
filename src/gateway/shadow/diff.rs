//! The first difference between two JSON texts, described without message content.

use crate::{
    python::json::{self, Constants},
    value::{Text, Value},
};

/// Fields whose values tell nothing about people.
const PLAIN: [&str; 8] = [
    "id",
    "type",
    "status",
    "created_at",
    "updated_at",
    "timestamp",
    "is_deleted",
    "is_active",
];

/// Fields whose values have the shape that their sender chose; names in them are content too.
const FREE: [&str; 4] = ["message_id", "user_id", "is_typing", "message_type"];

/// Longest value that is shown, in characters.
const SHOWN_MAX: usize = 100;

/// The difference without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Names of fields, and values that tell nothing about people.
    Structure,
    /// The difference with content.
    Content,
}

/// Returns the first difference; `None` if the bytes are the same.
#[must_use]
pub fn difference(django: &[u8], ours: &[u8], tell: Tell) -> Option<String> {
    if django == ours {
        return None;
    }
    let parse = |bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        json::loads(text, Constants::Allow).ok()
    };
    Some(match (parse(django), parse(ours)) {
        (Some(django), Some(ours)) if django != ours => first(&django, &ours, tell),
        (Some(_), Some(_)) => {
            let same = django.iter().zip(ours).take_while(|(a, b)| a == b);
            format!(
                "the same values are written differently from byte {}",
                same.count()
            )
        }
        (None, Some(_)) => format!("Django's {} bytes are no JSON", django.len()),
        (_, None) => format!("Chatferry's {} bytes are no JSON", ours.len()),
    })
}

/// Goes down to where the two part. The parser has bounded how deep that is.
fn first(mut django: &Value, mut ours: &Value, tell: Tell) -> String {
    let (mut path, mut name, mut tell_names) = (String::new(), String::new(), true);
    loop {
        let place = if path.is_empty() { "the whole" } else { &path };
        match (django, ours) {
            (Value::Map(a), Value::Map(b)) => {
                let parted = a.iter().zip(b).find(|(a, b)| a != b);
                match parted {
                    Some(((key, value), (other, expected))) if key == other => {
                        key.as_str().unwrap_or_default().clone_into(&mut name);
                        path = join(&path, if tell_names { &name } else { "…" });
                        tell_names &= tell == Tell::Content || !FREE.contains(&name.as_str());
                        (django, ours) = (value, expected);
                    }
                    _ if tell_names => {
                        return format!("{place}: Django has {}, Chatferry {}", names(a), names(b));
                    }
                    _ => return format!("{place}: the fields differ"),
                }
            }
            (Value::List(a), Value::List(b)) => {
                let parted = a.iter().zip(b).enumerate().find(|(_, (a, b))| a != b);
                let Some((index, (value, expected))) = parted else {
                    let (a, b) = (a.len(), b.len());
                    return format!("{place}: Django has {a} items, Chatferry {b}");
                };
                path = format!("{path}[{index}]");
                (django, ours) = (value, expected);
            }
            _ => {
                let open = tell == Tell::Content || PLAIN.contains(&name.as_str());
                let (django, ours) = (shown(django, open), shown(ours, open));
                return format!("{place}: Django has {django}, Chatferry {ours}");
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn names(members: &[(Text, Value)]) -> String {
    let names: Vec<&str> = members
        .iter()
        .map(|(name, _)| name.as_str().unwrap_or("…"))
        .collect();
    cut(&format!("the fields {}", names.join(", ")))
}

/// Returns a value, or only its kind.
fn shown(value: &Value, open: bool) -> String {
    if open {
        let mut bytes = Vec::new();
        json::write_ascii(&mut bytes, value);
        return cut(&String::from_utf8_lossy(&bytes));
    }
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a flag".to_owned(),
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => "a number".to_owned(),
        Value::Str(text) => format!("a text of {} characters", text.code_points().count()),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(members) => format!("an object of {} fields", members.len()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(django: &str, ours: &str) -> String {
        difference(django.as_bytes(), ours.as_bytes(), Tell::Structure).unwrap()
    }

    #[test]
    fn the_same_bytes_are_no_difference() {
        assert_eq!(difference(b"{", b"{", Tell::Structure), None);
    }

    #[test]
    fn the_place_is_told_and_what_people_wrote_is_not() {
        let django = r#"{"messages": [{"id": "1", "content": "secret"}]}"#;
        let ours = r#"{"messages": [{"id": "1", "content": "other secret"}]}"#;
        assert_eq!(
            told(django, ours),
            "messages[0].content: Django has a text of 6 characters, Chatferry a text of 12 \
             characters"
        );
        let all = difference(django.as_bytes(), ours.as_bytes(), Tell::Content).unwrap();
        assert!(
            all.contains(r#""secret""#) && all.contains(r#""other secret""#),
            "{all}"
        );
    }

    #[test]
    fn a_renamed_field_and_another_datetime_are_told_in_full() {
        assert_eq!(
            told(
                r#"{"a": {"id": 1, "text": "x"}}"#,
                r#"{"a": {"id": 1, "content": "x"}}"#
            ),
            "a: Django has the fields id, text, Chatferry the fields id, content"
        );
        assert_eq!(
            told(
                r#"{"created_at": "2026Z"}"#,
                r#"{"created_at": "2026+09:00"}"#
            ),
            r#"created_at: Django has "2026Z", Chatferry "2026+09:00""#
        );
    }

    #[test]
    fn names_that_a_sender_chose_are_content() {
        let text = told(
            r#"{"user_id": {"secret": 1}}"#,
            r#"{"user_id": {"other": 1}}"#,
        );
        assert_eq!(text, "user_id: the fields differ");
    }

    #[test]
    fn lists_of_different_lengths_and_other_spellings_are_told() {
        assert_eq!(
            told("[1, 2]", "[1]"),
            "the whole: Django has 2 items, Chatferry 1"
        );
        assert!(told("[1,2]", "[1, 2]").starts_with("the same values are written differently"));
        assert!(told("<html>", "[1, 2]").contains("no JSON"));
    }
}
