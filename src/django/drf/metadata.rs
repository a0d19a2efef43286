//! Answers to `OPTIONS`.
//!
//! Stands in for `SimpleMetadata` in `rest_framework/metadata.py`: the name of the view, its
//! docstring, and the media types of the defaults. Nothing of it is translated.

use crate::value::Value;

/// The views of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    CreateConversation,
    ConversationDetail,
    UserConversations,
    ConversationMessages,
    SendMessage,
    MarkMessageAsRead,
}

impl View {
    /// The name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            View::CreateConversation => "Create Conversation",
            View::ConversationDetail => "Conversation Detail",
            View::UserConversations => "User Conversations",
            View::ConversationMessages => "Conversation Messages",
            View::SendMessage => "Send Message",
            View::MarkMessageAsRead => "Mark Message As Read",
        }
    }

    /// Returns the description, in one line.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            View::CreateConversation => "새로운 대화방 생성 (중복 방지 로직 포함)",
            View::ConversationDetail => "특정 대화방 조회 - MSA 외부 제공 API",
            View::UserConversations => "특정 유저의 모든 대화방 조회",
            View::ConversationMessages => "대화방의 메시지 목록 조회 (삭제되지 않은 메시지만)",
            View::SendMessage => "메시지 전송 (이벤트 발행 포함)",
            View::MarkMessageAsRead => "메시지를 읽음으로 표시 (읽음 확인 시스템)",
        }
    }
}

/// The body of a 200 to `OPTIONS`.
#[must_use]
pub fn options_metadata(view: View) -> Value {
    let list = |texts: &[&str]| Value::List(texts.iter().map(|&text| text.into()).collect());
    let parsers = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ];
    Value::Map(vec![
        ("name".into(), view.name().into()),
        ("description".into(), view.description().into()),
        ("renders".into(), list(&["application/json", "text/html"])),
        ("parses".into(), list(&parsers)),
    ])
}
