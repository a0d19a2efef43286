//! `/events.json`: a JSON Schema of the events, one for each type.

use serde_json::{Map, Value, json};

use crate::config::{self, EventFormat};

/// Schemas of the data of each type: their fields, all of which are there.
const DATA: &str = include_str!("schemas.json");

/// Returns the schema of any event as the settings have it put, with those of each type in `$defs`.
#[must_use]
pub fn document(settings: &config::Events) -> String {
    let data: Map<String, Value> = serde_json::from_str(DATA).unwrap_or_default();
    let mut types = Vec::new();
    let mut definitions = json!({
        "id": {"description": "A UUID, or a number as text.", "type": "string"},
        "time": {"description": "In UTC.", "type": "string", "format": "date-time"},
    });
    for (name, fields) in data {
        types.push(json!({"$ref": format!("#/$defs/{name}")}));
        definitions[&name] = envelope(settings.format, &name, fields);
    }
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of Chatferry",
        "oneOf": types,
        "$defs": definitions,
    });
    document.to_string()
}

fn envelope(format: EventFormat, name: &str, mut data: Value) -> Value {
    data["type"] = "object".into();
    data["required"] = names(&data["properties"]);
    let description = data["description"].take();
    let properties = match format {
        EventFormat::Original => json!({
            "event_type": {"const": name},
            "timestamp": {
                "description": "Local time of django.time_zone, without an offset.",
                "type": "string",
            },
            "data": data,
        }),
        EventFormat::CloudEvents | EventFormat::CloudEventsBinary => json!({
            "specversion": {"const": "1.0"},
            "id": {"description": "The same each time.", "type": "string", "format": "uuid"},
            "source": {"type": "string"},
            "type": {"const": name},
            "subject": {"$ref": "#/$defs/id"},
            "time": {"$ref": "#/$defs/time"},
            "datacontenttype": {"const": "application/json"},
            "data": data,
        }),
    };
    json!({
        "description": description,
        "type": "object",
        "required": names(&properties),
        "properties": properties,
    })
}

/// Returns the names of an object's members.
fn names(object: &Value) -> Value {
    let members = object.as_object().into_iter().flatten();
    members.map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::OutboxKind, config::Config};

    #[test]
    fn each_type_has_a_schema_in_each_form() {
        for (format, field) in [("original", "event_type"), ("cloudevents", "type")] {
            let config = Config::of(&[("events.format", format)]);
            let document: Value = serde_json::from_str(&document(&config.events)).unwrap();
            let definitions = document["$defs"].as_object().unwrap();
            assert_eq!(definitions.len(), OutboxKind::ALL.len() + 2);
            for kind in OutboxKind::ALL.map(OutboxKind::as_str) {
                let schema = &definitions[kind];
                assert_eq!(schema["properties"][field]["const"], kind);
                let required = schema["required"].as_array().unwrap();
                assert!(required.contains(&"data".into()));
            }
        }
    }
}
