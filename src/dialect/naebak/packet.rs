//! Packets of Engine.IO 4, and of Socket.IO 5 within its messages, as text.

use bytes::Bytes;

use crate::{
    python::json::{Constants, loads, write_ascii},
    value::Value,
};

/// Stands between packets in a payload of polling.
pub const SEPARATOR: u8 = 0x1e;

/// Most packets of one payload; more are nothing that is understood.
pub const PACKETS_MAX: usize = 16;

/// Most binary parts of an event.
const ATTACHMENTS_MAX: usize = 16;

/// Packets of the server without anything in them.
pub const CLOSE: &str = "1";
pub const PING: &str = "2";
pub const PROBED: &str = "3probe";
pub const NOOP: &str = "6";

/// Packets of the client around an upgrade.
pub const PROBE: &str = "2probe";
pub const UPGRADE: &str = "5";

/// A packet of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    Close,
    Pong,
    Message(&'a str),
    /// A binary part of an event, in polling in Base64.
    Binary,
    /// One that means nothing here.
    Other,
    Upgrade,
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` for what is none.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        Some(match kind {
            "1" => Packet::Close,
            "3" => Packet::Pong,
            "4" => Packet::Message(rest),
            "5" => Packet::Upgrade,
            "b" => Packet::Binary,
            "0" | "2" | "6" | "7" | "8" | "9" => Packet::Other,
            _ => return None,
        })
    }
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// To enter a namespace, with what proves who it is.
    Connect {
        namespace: String,
        auth: Option<Value>,
    },
    /// To leave the namespace.
    Disconnect,
    Event(Event),
}

/// An event of the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    /// The first argument.
    pub data: Option<Value>,
    /// The client wants to know when it is done with.
    pub acknowledge: Option<String>,
    /// Binary parts that follow it.
    pub attachments: usize,
}

impl Request {
    /// Reads a message; `None` for what asks for nothing, for answers of clients among it, and for
    /// events of other namespaces.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let (attachments, rest) = match kind {
            "5" => rest.split_once('-')?,
            "0" | "1" | "2" => ("0", rest),
            _ => return None,
        };
        let attachments = attachments
            .parse()
            .ok()
            .filter(|it| *it <= ATTACHMENTS_MAX)?;
        let (namespace, rest) = match rest.strip_prefix('/') {
            Some(_) => rest.split_once(',').unwrap_or((rest, "")),
            None => ("/", rest),
        };
        let namespace = namespace.split('?').next().unwrap_or("/");
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, payload) = rest.split_at_checked(digits)?;
        let payload = match payload {
            "" => None,
            text => Some(loads(text, Constants::Allow).ok()?),
        };
        match kind {
            "0" => Some(Request::Connect {
                namespace: namespace.to_owned(),
                auth: payload,
            }),
            _ if namespace != "/" => None,
            "1" => Some(Request::Disconnect),
            _ => {
                let Some(Value::List(arguments)) = payload else {
                    return None;
                };
                let mut arguments = arguments.into_iter();
                let name = arguments.next()?;
                Some(Request::Event(Event {
                    name: name.as_str()?.to_owned(),
                    data: arguments.next(),
                    acknowledge: (!id.is_empty()).then(|| id.to_owned()),
                    attachments,
                }))
            }
        }
    }
}

/// Makes the packet that opens a session.
#[must_use]
pub fn open(sid: &str, can_upgrade: bool, limits: Limits) -> Bytes {
    let upgrades = if can_upgrade { r#""websocket""# } else { "" };
    let Limits {
        interval_ms,
        timeout_ms,
        payload_max,
    } = limits;
    format!(
        r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingTimeout":{timeout_ms},"pingInterval":{interval_ms},"maxPayload":{payload_max}}}"#
    )
    .into()
}

/// What a session is told of its limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub payload_max: usize,
}

/// Makes the packet that lets a client into the namespace.
#[must_use]
pub fn connected(sid: &str) -> Bytes {
    format!(r#"40{{"sid":"{sid}"}}"#).into()
}

/// Makes the packet that refuses a client.
#[must_use]
pub fn rejected() -> Bytes {
    Bytes::from_static(br#"44{"message":"Connection rejected by server"}"#)
}

/// Makes the packet that refuses another namespace.
#[must_use]
pub fn no_namespace(namespace: &str) -> Bytes {
    format!(r#"44{namespace},"Unable to connect""#).into()
}

/// Makes the answer to an event that asked for one.
#[must_use]
pub fn acknowledged(id: &str) -> Bytes {
    format!("43{id}[]").into()
}

/// Makes the packet of an event: compact JSON, all that is not ASCII as `\uXXXX`.
#[must_use]
pub fn event(name: &str, arguments: &[Value]) -> Bytes {
    let mut all = vec![Value::from(name)];
    all.extend_from_slice(arguments);
    let mut packet = b"42".to_vec();
    write_compact(&mut packet, &Value::List(all));
    packet.into()
}

/// Writes compact JSON in ASCII.
fn write_compact(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::List(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_compact(out, item);
            }
            out.push(b']');
        }
        Value::Map(members) => {
            out.push(b'{');
            for (place, (name, value)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_ascii(out, &Value::Str(name.clone()));
                out.push(b':');
                write_compact(out, value);
            }
            out.push(b'}');
        }
        plain => write_ascii(out, plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_of(text: &str) -> Option<Event> {
        match Request::read(text) {
            Some(Request::Event(event)) => Some(event),
            _ => None,
        }
    }

    #[test]
    fn an_event_has_a_name_an_argument_and_maybe_an_id() {
        let event = event_of(r#"27["send_message",{"content":"x"},5]"#).unwrap();
        assert_eq!(event.name, "send_message");
        assert_eq!(event.acknowledge.as_deref(), Some("7"));
        assert_eq!(event.data.unwrap().get("content"), Some(&"x".into()));
        assert_eq!(event_of(r#"2["x"]"#).unwrap().data, None);
        let binary = event_of(r#"51-["x",{"_placeholder":true,"num":0}]"#).unwrap();
        assert_eq!(binary.attachments, 1);
    }

    #[test]
    fn what_is_no_event_asks_for_nothing() {
        for text in [
            "",
            "2",
            "2[]",
            "2{}",
            "2[5]",
            "2x",
            "3[]",
            "4",
            "9",
            "x",
            "2[\"x\"",
            "5[\"x\"]",
            "599-[\"x\"]",
            "2/chat,[\"x\"]",
            "é",
        ] {
            assert_eq!(Request::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_connect_names_its_namespace_and_brings_its_proof() {
        let connect = |text| match Request::read(text) {
            Some(Request::Connect { namespace, auth }) => (namespace, auth.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(connect("0"), ("/".to_owned(), false));
        assert_eq!(connect(r#"0{"token":"x"}"#), ("/".to_owned(), true));
        assert_eq!(connect("0/chat,"), ("/chat".to_owned(), false));
        assert_eq!(connect("0/chat?a=b,{}"), ("/chat".to_owned(), true));
        assert_eq!(Request::read("1"), Some(Request::Disconnect));
    }

    #[test]
    fn an_event_is_written_compact_and_in_ascii() {
        let data = loads(
            r#"{"a": "مر", "b": [1, 1.5, null], "c": {}}"#,
            Constants::Allow,
        );
        let packet = event("x", &[data.unwrap()]);
        assert_eq!(
            packet,
            r#"42["x",{"a":"\u0645\u0631","b":[1,1.5,null],"c":{}}]"#
        );
    }

    #[test]
    fn a_packet_is_known_by_its_first_character() {
        assert_eq!(Packet::read("3"), Some(Packet::Pong));
        assert_eq!(Packet::read("42x"), Some(Packet::Message("2x")));
        assert_eq!(Packet::read("2probe"), Some(Packet::Other));
        for junk in ["", "garbage", "é"] {
            assert_eq!(Packet::read(junk), None);
        }
    }
}
