//! What an event of another service asks for: a message that an assistant has made.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Incoming;
use crate::{chat::NewMessage, id::ConversationId};

/// Type of the events that are consumed. Others are confirmed, and nothing is done.
pub const GENERATED: &str = "ai.message.generated";

/// Sender of a message whose event names none.
const ASSISTANT: &str = "assistant";

/// Returns the message of an event; `None` for an event of another type.
///
/// # Errors
/// A text for the log, if it is no such event.
pub fn message_of(incoming: &Incoming<'_>) -> Result<Option<NewMessage>, String> {
    let event: Value = serde_json::from_slice(incoming.body?).map_err(|error| error.to_string())?;
    // The body of a binary CloudEvent is the data alone.
    let event = match &incoming.kind {
        Some(kind) => json!({"type": kind, "data": event}),
        None => event,
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&event["event_type"]).or_else(|| text(&event["type"]));
    if kind.ok_or("the event has no type")? != GENERATED {
        return Ok(None);
    }
    let data = &event["data"];
    let id = incoming.id.clone();
    let id = id
        .or_else(|| text(&event["id"]))
        .or_else(|| text(&data["message_id"]));
    let id: Uuid = id
        .and_then(|id| id.parse().ok())
        .ok_or("the event has no UUID as its id")?;
    let conversation = text(&data["conversation_id"]);
    let conversation: ConversationId = conversation
        .and_then(|id| id.parse().ok())
        .ok_or("conversation_id is no id")?;
    let content = text(&data["content"]).filter(|content| !content.is_empty());
    Ok(Some(NewMessage {
        id: Some(id.into()),
        conversation_id: conversation,
        sender_id: text(&data["sender_id"]).unwrap_or_else(|| ASSISTANT.to_owned()),
        content: content.ok_or("content is no text")?,
        message_type: text(&data["message_type"]).unwrap_or_else(|| "text".to_owned()),
        is_deleted: false,
        attachments: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Result<Option<NewMessage>, String> {
        message_of(&Incoming {
            place: "1-1",
            id: None,
            kind: None,
            body: Ok(event.as_bytes()),
        })
    }

    #[test]
    fn a_message_is_read_from_either_form_of_an_event() {
        let id = "01a22e73-a80e-773a-b90f-b29d898b5a8d";
        let data = format!("{{\"conversation_id\": \"{id}\", \"content\": \"a\"}}");
        let cloud = format!("{{\"type\": \"{GENERATED}\", \"id\": \"{id}\", \"data\": {data}}}");
        let message = read(&cloud).unwrap().unwrap();
        assert_eq!(message.id.unwrap().to_string(), id);
        assert_eq!(
            (&*message.sender_id, &*message.message_type),
            (ASSISTANT, "text")
        );
        assert_eq!(read("{\"event_type\": \"user.created\"}"), Ok(None));
        for bad in [
            "no JSON",
            "{}",
            &format!("{{\"type\": \"{GENERATED}\", \"data\": {data}}}"),
            &cloud.replace("\"a\"", "5"),
            &cloud.replace("conversation_id", "room"),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_binary_event_has_its_type_and_id_beside_the_data() {
        let id = "01a22e73-a80e-773a-b90f-b29d898b5a8d";
        let data = format!("{{\"conversation_id\": \"{id}\", \"content\": \"a\"}}");
        let read = |kind: &str| {
            message_of(&Incoming {
                place: "1",
                id: Some(id.to_owned()),
                kind: Some(kind.to_owned()),
                body: Ok(data.as_bytes()),
            })
        };
        assert_eq!(
            read(GENERATED).unwrap().unwrap().id.unwrap().to_string(),
            id
        );
        assert_eq!(read("user.created"), Ok(None));
    }
}
