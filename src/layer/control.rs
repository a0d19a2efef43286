//! Messages between Chatferry's processes: events of a group that only they are members of.
//!
//! The group is [`CONTROL`](super::CONTROL), on every Redis host. A Python consumer is never in it,
//! as an event of a type that it has no handler for would end it.

use crate::{
    chat::Event,
    id::{ConversationId, Key, MessageId},
    python::datetime::Timestamp,
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

/// An order to disconnect the sockets that match all that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub user: Option<String>,
    pub conversation: Option<ConversationId>,
}

impl Disconnect {
    /// Returns `true` for a socket that matches all that is given; an order without a user and a
    /// conversation matches none.
    #[must_use]
    pub fn is_for(&self, user: Option<&str>, conversation: Option<ConversationId>) -> bool {
        let is_user = self.user.as_deref().is_none_or(|it| user == Some(it));
        let is_conversation = self.conversation.is_none_or(|it| conversation == Some(it));
        (self.user.is_some() || self.conversation.is_some()) && is_user && is_conversation
    }
}

/// The next events of a conversation come from a client that has seen these messages, which may be owed
/// by the process that it said them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follows {
    pub conversation: ConversationId,
    pub messages: Vec<MessageId>,
    /// When the first of them was stored.
    pub since: Timestamp,
    /// When the last of them was stored.
    pub until: Timestamp,
}

/// A message of a conversation has been changed. What it is now is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub conversation: ConversationId,
    /// Of the change.
    pub at: Timestamp,
}

/// A client of this user has got messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub conversation: ConversationId,
    pub user: String,
    pub messages: Vec<MessageId>,
}

/// Users who have become members of a group, and some who are none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub conversation: ConversationId,
    pub joined: Vec<String>,
    pub gone: Vec<String>,
}

/// Users who have a socket at a process, and some who have none there any more. Another process forgets
/// those of which it has not heard for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// An id of the process.
    pub process: String,
    pub users: Vec<String>,
    pub gone: Vec<String>,
    /// The process has just begun to ask: the others are to name their users soon.
    pub asks: bool,
}

/// An order or notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Ends the rights of open sockets. Django may send it too.
    Disconnect(Disconnect),
    ReadAgain(Notice),
    /// These messages were stored without an event, on purpose: no socket misses them.
    Unannounced(Vec<Key>),
    Follows(Follows),
    Changed(Changed),
    Delivered(Delivered),
    Online(Online),
    Membership(Membership),
}

impl Control {
    /// Returns whether it is worthless some seconds later: it is then not sent again.
    #[must_use]
    pub fn goes_stale(&self) -> bool {
        matches!(self, Control::Online(_))
    }

    /// Returns the event that says so.
    #[must_use]
    pub fn event(&self) -> Event {
        let (order, members) = match self {
            Control::Disconnect(Disconnect { user, conversation }) => {
                let user = user.as_deref().map(|it| ("user", it.into()));
                let conversation = conversation.map(|it| ("conversation", it.to_string().into()));
                ("disconnect", user.into_iter().chain(conversation).collect())
            }
            Control::ReadAgain(Notice { group, since }) => {
                let group = group.as_deref().map_or(Value::Null, Value::from);
                let since = Value::Int(since.micros().into());
                ("read_again", vec![("group", group), ("since", since)])
            }
            Control::Unannounced(ids) => ("unannounced", vec![("ids", list(ids))]),
            Control::Follows(Follows {
                conversation,
                messages,
                since,
                until,
            }) => {
                let time = |time: &Timestamp| Value::Int(time.micros().into());
                let members = vec![
                    ("conversation", conversation.to_string().into()),
                    ("ids", list(messages)),
                    ("since", time(since)),
                    ("until", time(until)),
                ];
                ("follows", members)
            }
            Control::Changed(Changed { conversation, at }) => {
                let at = Value::Int(at.micros().into());
                let conversation = conversation.to_string().into();
                ("changed", vec![("conversation", conversation), ("at", at)])
            }
            Control::Online(Online {
                process,
                users,
                gone,
                asks,
            }) => {
                let members = vec![
                    ("process", process.as_str().into()),
                    ("users", text_list(users)),
                    ("gone", text_list(gone)),
                    ("asks", (*asks).into()),
                ];
                ("online", members)
            }
            Control::Membership(Membership {
                conversation,
                joined,
                gone,
            }) => {
                let members = vec![
                    ("conversation", conversation.to_string().into()),
                    ("joined", text_list(joined)),
                    ("gone", text_list(gone)),
                ];
                ("membership", members)
            }
            Control::Delivered(Delivered {
                conversation,
                user,
                messages,
            }) => {
                let members = vec![
                    ("conversation", conversation.to_string().into()),
                    ("user", user.as_str().into()),
                    ("ids", list(messages)),
                ];
                ("delivered", members)
            }
        };
        let head = [("type", KIND.into()), ("order", order.into())];
        let members = head.into_iter().chain(members);
        let members = members.map(|(name, value)| (Text::fixed(name), value));
        Event::Foreign(Value::Map(members.collect()))
    }

    /// Reads such an event; `None` for what a newer version may say.
    #[must_use]
    pub fn read(event: &Event) -> Option<Self> {
        let body = body(event)?;
        match body.get("order")?.as_str()? {
            "disconnect" => disconnect(body).map(Control::Disconnect),
            "read_again" => Some(Control::ReadAgain(Notice {
                group: body.get("group")?.as_str().map(str::to_owned),
                since: time(body.get("since")?)?,
            })),
            "unannounced" => Some(Control::Unannounced(ids(body)?)),
            "follows" => Some(Control::Follows(Follows {
                conversation: body.get("conversation")?.as_str()?.parse().ok()?,
                messages: ids(body)?,
                since: time(body.get("since")?)?,
                until: time(body.get("until")?)?,
            })),
            "changed" => Some(Control::Changed(Changed {
                conversation: body.get("conversation")?.as_str()?.parse().ok()?,
                at: time(body.get("at")?)?,
            })),
            "online" => Some(Control::Online(Online {
                process: body.get("process")?.as_str()?.to_owned(),
                users: texts(body.get("users")?)?,
                gone: texts(body.get("gone")?)?,
                asks: matches!(body.get("asks"), Some(Value::Bool(true))),
            })),
            "membership" => Some(Control::Membership(Membership {
                conversation: body.get("conversation")?.as_str()?.parse().ok()?,
                joined: texts(body.get("joined")?)?,
                gone: texts(body.get("gone")?)?,
            })),
            "delivered" => Some(Control::Delivered(Delivered {
                conversation: body.get("conversation")?.as_str()?.parse().ok()?,
                user: body.get("user")?.as_str()?.to_owned(),
                messages: ids(body)?,
            })),
            _ => None,
        }
    }
}

fn list(ids: &[impl Into<Key> + Copy]) -> Value {
    let ids = ids.iter().map(|&id| id.into().short().into());
    Value::List(ids.collect())
}

fn ids<T: From<Key>>(body: &Value) -> Option<Vec<T>> {
    let Value::List(ids) = body.get("ids")? else {
        return None;
    };
    let id = |id: &Value| Key::parse(id.as_str()?).map(T::from);
    Some(ids.iter().filter_map(id).collect())
}

fn text_list(texts: &[String]) -> Value {
    Value::List(texts.iter().map(|text| text.as_str().into()).collect())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let Value::List(texts) = value else {
        return None;
    };
    let texts = texts.iter().filter_map(|text| text.as_str());
    Some(texts.map(str::to_owned).collect())
}

fn time(value: &Value) -> Option<Timestamp> {
    let Value::Int(micros) = value else {
        return None;
    };
    Some(Timestamp::from_micros(i64::try_from(*micros).ok()?))
}

/// Reads which sockets are meant; `None` if nothing is, or something that is not understood: more
/// than was meant must not be done.
fn disconnect(body: &Value) -> Option<Disconnect> {
    let user = match body.get("user") {
        None | Some(Value::Null) => None,
        // Django's keys are mostly numbers.
        Some(Value::Int(number)) => Some(number.to_string()),
        Some(user) => Some(user.as_str()?.to_owned()),
    };
    let conversation = match body.get("conversation") {
        None | Some(Value::Null) => None,
        Some(id) => Some(id.as_str()?.parse().ok()?),
    };
    let means_something = user.is_some() || conversation.is_some();
    means_something.then_some(Disconnect { user, conversation })
}

/// Returns whether an event is one of these, which no socket is shown.
#[must_use]
pub fn is_control(event: &Event) -> bool {
    body(event).is_some()
}

fn body(event: &Event) -> Option<&Value> {
    let Event::Foreign(body) = event else {
        return None;
    };
    let kind = body.get("type")?.as_str()?;
    (kind == KIND || kind == HANDLER).then_some(body)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

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
            Control::Unannounced(vec![Uuid::new_v4().into(), Key::Number(7)]),
            Control::Follows(Follows {
                conversation: Uuid::new_v4().into(),
                messages: vec![Uuid::new_v4().into(), Key::Number(7).into()],
                since,
                until: Timestamp::from_micros(since.micros() + 1),
            }),
            Control::Changed(Changed {
                conversation: Uuid::new_v4().into(),
                at: since,
            }),
            Control::Online(Online {
                process: "p".to_owned(),
                users: vec!["alice".to_owned()],
                gone: vec!["bob".to_owned()],
                asks: true,
            }),
            Control::Delivered(Delivered {
                conversation: Uuid::new_v4().into(),
                user: "alice".to_owned(),
                messages: vec![Uuid::new_v4().into()],
            }),
            Control::Membership(Membership {
                conversation: Uuid::new_v4().into(),
                joined: vec!["alice".to_owned()],
                gone: vec!["bob".to_owned(), "carol".to_owned()],
            }),
            Control::Disconnect(Disconnect {
                user: Some("alice".to_owned()),
                conversation: None,
            }),
            Control::Disconnect(Disconnect {
                user: None,
                conversation: Some(Uuid::new_v4().into()),
            }),
        ] {
            let event = order.event();
            assert!(is_control(&event));
            assert_eq!(Control::read(&event), Some(order));
        }
    }

    #[test]
    fn a_disconnect_that_is_not_understood_in_full_is_none() {
        let read = |members: &[(&'static str, Value)]| {
            let head = [("type", KIND.into()), ("order", "disconnect".into())];
            let members = head.into_iter().chain(members.iter().cloned());
            let members = members.map(|(name, value)| (Text::fixed(name), value));
            Control::read(&Event::Foreign(Value::Map(members.collect())))
        };
        let number = read(&[("user", Value::Int(5.into()))]);
        let user = Some("5".to_owned());
        let conversation = None;
        assert_eq!(
            number,
            Some(Control::Disconnect(Disconnect { user, conversation }))
        );
        for members in [
            &[][..],
            &[("user", Value::Null)],
            &[("user", Value::Bool(true))],
            &[("user", "alice".into()), ("conversation", "all".into())],
        ] {
            assert_eq!(read(members), None, "{members:?}");
        }
    }

    #[test]
    fn what_a_newer_version_says_is_passed_over() {
        let members = [("type", KIND), ("order", "dance")];
        let members = members.map(|(name, value)| (Text::fixed(name), value.into()));
        let event = Event::Foreign(Value::Map(members.into()));
        assert!(is_control(&event));
        assert_eq!(Control::read(&event), None);
    }
}
