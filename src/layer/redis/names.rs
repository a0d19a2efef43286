//! Names of channels and groups, and the keys they have in Redis.
//!
//! Stands in for the name checks of `channels.layers.BaseChannelLayer` and the key functions of
//! both layers. Names we make are plain ASCII; names we read may be anything that is UTF-8.

use super::super::LayerError;

/// The longest name Channels accepts, in code points.
const MAX_NAME: usize = 99;

/// Returns the part of a channel's name that names its queue: up to and including the first `!`.
/// The name of a normal channel is its own.
#[must_use]
pub fn queue_of(channel: &str) -> &str {
    channel
        .find('!')
        .and_then(|at| channel.get(..=at))
        .unwrap_or(channel)
}

/// Returns the part after the `!`, if the channel is `queue`'s.
#[must_use]
pub fn local_of<'a>(channel: &'a str, queue: &str) -> Option<&'a str> {
    channel.strip_prefix(queue)
}

/// Returns the key of the core layer's queue: the prefix and the name, nothing between.
#[must_use]
pub fn queue_key(prefix: &str, queue: &str) -> String {
    format!("{prefix}{queue}")
}

/// Returns the key of the core layer's set of members.
#[must_use]
pub fn group_key(prefix: &str, group: &str) -> String {
    format!("{prefix}:group:{group}")
}

/// Returns the Redis channel of a group of the pub/sub layer.
#[must_use]
pub fn group_channel(prefix: &str, group: &str) -> String {
    format!("{prefix}__group__{group}")
}

/// Returns the text as a pattern that is matched by it alone where Redis takes a pattern.
#[must_use]
pub fn quoted(text: &str) -> String {
    let escape = |c: char| {
        let is_active = matches!(c, '*' | '?' | '[' | ']' | '\\');
        is_active.then_some('\\').into_iter().chain([c])
    };
    text.chars().flat_map(escape).collect()
}

/// Refuses a group that no Python process could name.
pub fn check_group(group: &str) -> Result<(), LayerError> {
    if group.is_empty() || group.chars().count() > MAX_NAME || !group.chars().all(in_name) {
        return Err(LayerError::Name(group.to_owned()));
    }
    Ok(())
}

/// Refuses a channel that no Python process could name.
pub fn check_channel(channel: &str) -> Result<(), LayerError> {
    let (queue, local) = channel.split_once('!').unwrap_or((channel, ""));
    let valid = !queue.is_empty()
        && channel.chars().count() <= MAX_NAME
        && queue.chars().all(in_name)
        && local.chars().all(in_name);
    if valid {
        Ok(())
    } else {
        Err(LayerError::Name(channel.to_owned()))
    }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "specific.0123456789abcdef0123456789abcdef!";

    #[test]
    fn the_queue_is_named_by_all_up_to_the_mark() {
        assert_eq!(queue_of(&format!("{MINE}aa")), MINE);
        assert_eq!(queue_of("plain-worker"), "plain-worker");
        assert_eq!(local_of(&format!("{MINE}aa"), MINE), Some("aa"));
        assert_eq!(local_of("specific.other!aa", MINE), None);
    }

    #[test]
    fn keys_are_those_of_the_contract() {
        assert_eq!(queue_key("asgi", MINE), format!("asgi{MINE}"));
        assert_eq!(group_key("asgi", "room_1"), "asgi:group:room_1");
        assert_eq!(group_channel("asgi", "room_1"), "asgi__group__room_1");
    }

    /// Checklist 1 and 2.
    #[test]
    fn our_names_are_valid_for_python() {
        let name = format!("{MINE}chat_95031212-7823-4748-bb78-b212d36b6db3");
        assert_eq!(name.len(), 83);
        assert!(check_channel(&name).is_ok());
        assert!(check_channel("a!").is_ok());
    }

    #[test]
    fn quoted_text_is_no_pattern() {
        assert_eq!(quoted("asgi:group:"), "asgi:group:");
        assert_eq!(quoted(r"a*[b]\?"), r"a\*\[b\]\\\?");
    }

    #[test]
    fn names_python_would_refuse_are_refused() {
        for bad in ["", "a b", "채팅", "a!b!c", "!a", &"x".repeat(100)] {
            assert!(check_channel(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a!b", "a\n", &"x".repeat(100)] {
            assert!(check_group(bad).is_err(), "{bad:?}");
        }
        assert!(check_group(&"x".repeat(99)).is_ok());
    }
}
