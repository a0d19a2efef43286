//! The forms of an event: that of the original's event log, and `CloudEvents` 1.0 in JSON.

use crate::{
    config::{self, EventFormat, SinkName},
    python::{
        datetime::{Timestamp, Zone, to_iso_naive, to_iso_utc},
        json::write_ascii_str,
    },
    store::outbox::OutboxRow,
};

const JSON: &str = "application/json";

/// An event as a sink gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The same each time that the event is published.
    pub id: String,
    /// Type, as `message.created`.
    pub kind: String,
    /// Conversation, within which order is kept.
    pub key: String,
    pub at: Timestamp,
    /// One line of JSON in ASCII.
    pub body: String,
    pub content_type: &'static str,
    /// Headers of a binary `CloudEvent`, without a prefix.
    pub attributes: Vec<(&'static str, String)>,
}

/// Puts events into their form.
#[derive(Clone, Debug)]
pub struct Envelopes {
    format: EventFormat,
    source: String,
    zone: Zone,
    /// True if the sink has headers.
    has_headers: bool,
}

impl Envelopes {
    /// Uses the form of the settings for a sink, and this zone for the original's naive times.
    #[must_use]
    pub fn new(settings: &config::Events, zone: &Zone, sink: SinkName) -> Self {
        Envelopes {
            format: settings.format,
            source: settings.source.clone(),
            zone: zone.clone(),
            has_headers: sink.has_headers(),
        }
    }

    #[must_use]
    pub fn of(&self, row: &OutboxRow) -> Outgoing {
        let mut attributes = Vec::new();
        let (body, content_type) = match self.format {
            EventFormat::Original => (self.original(row), JSON),
            EventFormat::CloudEventsBinary if self.has_headers => {
                attributes = self.attributes(row).into();
                (row.data.clone(), JSON)
            }
            EventFormat::CloudEvents | EventFormat::CloudEventsBinary => {
                (self.cloud_event(row), "application/cloudevents+json")
            }
        };
        Outgoing {
            body,
            content_type,
            attributes,
            id: row.event_id.clone(),
            kind: row.event_type.clone(),
            key: row.conversation_id.clone(),
            at: row.made_at,
        }
    }

    /// `timestamp` is naive local time, and times in `data` are UTC: as the original has it.
    fn original(&self, row: &OutboxRow) -> String {
        object(
            &[
                ("event_type", &row.event_type),
                ("timestamp", &to_iso_naive(row.made_at, &self.zone)),
            ],
            &row.data,
        )
    }

    fn cloud_event(&self, row: &OutboxRow) -> String {
        let attributes = self.attributes(row);
        let texts = attributes.iter().map(|(name, text)| (*name, text.as_str()));
        let mut texts: Vec<(&str, &str)> = texts.collect();
        texts.push(("datacontenttype", JSON));
        object(&texts, &row.data)
    }

    fn attributes(&self, row: &OutboxRow) -> [(&'static str, String); 6] {
        [
            ("specversion", "1.0".to_owned()),
            ("id", row.event_id.clone()),
            ("source", self.source.clone()),
            ("type", row.event_type.clone()),
            ("subject", row.conversation_id.clone()),
            ("time", to_iso_utc(row.made_at)),
        ]
    }
}

/// Writes texts, and the data behind them, as Python's `json.dumps` does.
fn object(texts: &[(&str, &str)], data: &str) -> String {
    let mut out = vec![b'{'];
    for (name, text) in texts {
        write_ascii_str(&mut out, name);
        out.extend_from_slice(b": ");
        write_ascii_str(&mut out, text);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(b"\"data\": ");
    out.extend_from_slice(data.as_bytes());
    out.push(b'}');
    // It is ASCII.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, python::datetime::from_sqlite};

    fn outgoing(format: &str, sink: SinkName) -> Outgoing {
        let config = Config::of(&[("events.format", format), ("events.source", "/c")]);
        let zone = Zone::named("Asia/Seoul").unwrap();
        Envelopes::new(&config.events, &zone, sink).of(&OutboxRow {
            place: 1,
            event_id: "e".into(),
            event_type: "message.created".into(),
            conversation_id: "c".into(),
            made_at: from_sqlite("2026-11-20 08:54:05.549235").unwrap(),
            data: "{}".into(),
        })
    }

    #[test]
    fn the_form_is_that_of_the_original_or_of_cloud_events() {
        assert_eq!(
            outgoing("original", SinkName::Log).body,
            "{\"event_type\": \"message.created\", \
             \"timestamp\": \"2026-11-20T17:54:05.549235\", \"data\": {}}"
        );
        assert_eq!(
            outgoing("cloudevents", SinkName::Log).body,
            "{\"specversion\": \"1.0\", \"id\": \"e\", \"source\": \"/c\", \
             \"type\": \"message.created\", \"subject\": \"c\", \
             \"time\": \"2026-11-20T08:54:05.549235+00:00\", \
             \"datacontenttype\": \"application/json\", \"data\": {}}"
        );
    }

    #[test]
    fn a_binary_event_has_its_attributes_in_headers_where_there_are_headers() {
        let binary = outgoing("cloudevents_binary", SinkName::Nats);
        assert_eq!((binary.body.as_str(), binary.content_type), ("{}", JSON));
        let names: Vec<&str> = binary.attributes.iter().map(|(name, _)| *name).collect();
        let expected = ["specversion", "id", "source", "type", "subject", "time"];
        assert_eq!(names, expected);
        let none = outgoing("cloudevents_binary", SinkName::Log);
        assert_eq!(none, outgoing("cloudevents", SinkName::Log));
    }
}
