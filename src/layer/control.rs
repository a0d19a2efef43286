//! What Chatferry's processes say to each other: events of a group that only they are members of.
//!
//! The group is [`CONTROL`](super::CONTROL), on every Redis host. A Python consumer is never in it,
//! as an event of a type that it has no handler for would end it.

use uuid::Uuid;

use crate::{
    chat::Event,
    django::datetime::Timestamp,
    value::{Text, Value},
};

/// The `type` of these events.
pub const KIND: &str = "chatferry.control";

/// The same as a handler's name.
pub const HANDLER: &str = "chatferry_control";

/// The conversation is to be read again: events could not be sent and are not kept any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `None` is every group.
    pub group: Option<String>,
    /// When the first of these events was to be sent, by the sender's clock.
    pub since: Timestamp,
}

/// An order or notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    ReadAgain(Notice),
    /// These messages were stored without an event, on purpose: nobody has missed them.
    Unannounced(Vec<Uuid>),
}

impl Control {
    /// The event that says so.
    #[must_use]
    pub fn event(&self) -> Event {
        let (order, members) = match self {
            Control::ReadAgain(Notice { group, since }) => {
                let group = group.as_deref().map_or(Value::Null, Value::from);
                let since = Value::Int(since.micros().into());
                ("read_again", vec![("group", group), ("since", since)])
            }
            Control::Unannounced(ids) => {
                let ids = ids.iter().map(|id| id.simple().to_string().into());
                ("unannounced", vec![("ids", Value::List(ids.collect()))])
            }
        };
        let head = [("type", KIND.into()), ("order", order.into())];
        let members = head.into_iter().chain(members);
        let members = members.map(|(name, value)| (Text::fixed(name), value));
        Event::Other(Value::Map(members.collect()))
    }

    /// Reads such an event; `None` for what a newer version may say.
    #[must_use]
    pub fn read(event: &Event) -> Option<Self> {
        let body = body(event)?;
        match body.get("order")?.as_str()? {
            "read_again" => {
                let Value::Int(micros) = body.get("since")? else {
                    return None;
                };
                Some(Control::ReadAgain(Notice {
                    group: body.get("group")?.as_str().map(str::to_owned),
                    since: Timestamp::from_micros(i64::try_from(*micros).ok()?),
                }))
            }
            "unannounced" => {
                let Value::List(ids) = body.get("ids")? else {
                    return None;
                };
                let id = |id: &Value| Uuid::try_parse(id.as_str()?).ok();
                Some(Control::Unannounced(ids.iter().filter_map(id).collect()))
            }
            _ => None,
        }
    }
}

/// Whether an event is one of these, which no socket is shown.
#[must_use]
pub fn is_control(event: &Event) -> bool {
    body(event).is_some()
}

fn body(event: &Event) -> Option<&Value> {
    let Event::Other(body) = event else {
        return None;
    };
    let kind = body.get("type")?.as_str()?;
    (kind == KIND || kind == HANDLER).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_read_as_it_was_written() {
        let since = Timestamp::from_micros(1_700_000_000_000_001);
        for order in [
            Control::ReadAgain(Notice { group: None, since }),
            Control::ReadAgain(Notice {
                group: Some("chat_1".to_owned()),
                since,
            }),
            Control::Unannounced(vec![Uuid::new_v4(), Uuid::new_v4()]),
        ] {
            let event = order.event();
            assert!(is_control(&event));
            assert_eq!(Control::read(&event), Some(order));
        }
    }

    #[test]
    fn what_a_newer_version_says_is_passed_over() {
        let members = [("type", KIND), ("order", "dance")];
        let members = members.map(|(name, value)| (Text::fixed(name), value.into()));
        let event = Event::Other(Value::Map(members.into()));
        assert!(is_control(&event));
        assert_eq!(Control::read(&event), None);
    }
}
