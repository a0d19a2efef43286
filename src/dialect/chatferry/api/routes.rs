//! The URLs of the API, one row each, with a handler for each method.

use std::future::ready;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;

use super::{
    attachments,
    call::Call,
    conversations, events, groups, marks, messages,
    overview::{inbox, search},
    problem::Problem,
};
use crate::{
    app::App,
    http::{Response, extract::Request},
    id::{AttachmentId, ConversationId, MessageId},
    python::uuid::from_path,
};

/// The answer of a handler, still to come.
pub type Answering<'a> = BoxFuture<'a, Result<Response, Problem>>;

/// A function that answers requests, by what its path captures.
#[derive(Clone, Copy)]
pub enum Handler {
    Plain(for<'a> fn(Call<'a>) -> Answering<'a>),
    Conversation(for<'a> fn(Call<'a>, ConversationId) -> Answering<'a>),
    Message(for<'a> fn(Call<'a>, ConversationId, MessageId) -> Answering<'a>),
    Attachment(for<'a> fn(Call<'a>, AttachmentId) -> Answering<'a>),
    /// Takes the body as it comes.
    Stream(for<'a> fn(Call<'a>, Option<Incoming>) -> Answering<'a>),
    /// Answers the holder of a link, who need not be known.
    Linked(for<'a> fn(&'a App, &'a Request, AttachmentId) -> Answering<'a>),
}

/// A method of a path.
pub struct Way {
    pub method: &'static str,
    /// The answer is a stream that lasts: the request counts as a socket, and is held to the rules
    /// of sockets.
    pub is_stream: bool,
    pub handler: Handler,
}

/// A path of the API.
pub struct Row {
    /// Path after the prefix; names in braces are captured.
    pub path: &'static str,
    /// The name of the route in the metrics.
    pub label: &'static str,
    pub ways: &'static [Way],
}

const fn get(handler: Handler) -> Way {
    other("GET", handler)
}

const fn other(method: &'static str, handler: Handler) -> Way {
    Way {
        method,
        is_stream: false,
        handler,
    }
}

const fn post(handler: Handler) -> Way {
    other("POST", handler)
}

/// The API.
pub const ROWS: &[Row] = &[
    Row {
        path: "me",
        label: "own_me",
        ways: &[get(Handler::Plain(|call| {
            Box::pin(ready(conversations::me(call)))
        }))],
    },
    Row {
        path: "conversations",
        label: "own_conversations",
        ways: &[
            get(Handler::Plain(|call| Box::pin(conversations::list(call)))),
            post(Handler::Plain(|call| Box::pin(conversations::open(call)))),
        ],
    },
    Row {
        path: "conversations/{conversation_id}",
        label: "own_conversation",
        ways: &[
            get(Handler::Conversation(|call, id| {
                Box::pin(conversations::show(call, id))
            })),
            other(
                "PATCH",
                Handler::Conversation(|call, id| Box::pin(groups::rename(call, id))),
            ),
        ],
    },
    Row {
        path: "conversations/{conversation_id}/members",
        label: "own_members",
        ways: &[
            get(Handler::Conversation(|call, id| {
                Box::pin(conversations::members(call, id))
            })),
            post(Handler::Conversation(|call, id| {
                Box::pin(groups::invite(call, id))
            })),
            other(
                "PATCH",
                Handler::Conversation(|call, id| Box::pin(groups::assign(call, id))),
            ),
            other(
                "DELETE",
                Handler::Conversation(|call, id| Box::pin(groups::remove(call, id))),
            ),
        ],
    },
    Row {
        path: "conversations/{conversation_id}/messages",
        label: "own_messages",
        ways: &[
            get(Handler::Conversation(|call, id| {
                Box::pin(messages::list(call, id))
            })),
            post(Handler::Conversation(|call, id| {
                Box::pin(messages::send(call, id))
            })),
        ],
    },
    Row {
        path: "conversations/{conversation_id}/messages/{message_id}",
        label: "own_message",
        ways: &[
            get(Handler::Message(|call, id, message| {
                Box::pin(messages::show(call, id, message))
            })),
            other(
                "PATCH",
                Handler::Message(|call, id, message| Box::pin(messages::edit(call, id, message))),
            ),
            other(
                "DELETE",
                Handler::Message(|call, id, message| Box::pin(messages::delete(call, id, message))),
            ),
        ],
    },
    Row {
        path: "conversations/{conversation_id}/read",
        label: "own_read",
        ways: &[post(Handler::Conversation(|call, id| {
            Box::pin(marks::read(call, id))
        }))],
    },
    Row {
        path: "conversations/{conversation_id}/delivered",
        label: "own_delivered",
        ways: &[post(Handler::Conversation(|call, id| {
            Box::pin(marks::delivered(call, id))
        }))],
    },
    Row {
        path: "conversations/{conversation_id}/receipts",
        label: "own_receipts",
        ways: &[get(Handler::Conversation(|call, id| {
            Box::pin(marks::receipts(call, id))
        }))],
    },
    Row {
        path: "conversations/{conversation_id}/events",
        label: "own_events",
        ways: &[Way {
            method: "GET",
            is_stream: true,
            handler: Handler::Conversation(|call, id| Box::pin(events::stream(call, id))),
        }],
    },
    Row {
        path: "attachments",
        label: "own_attachments",
        ways: &[
            get(Handler::Plain(|call| Box::pin(attachments::links(call)))),
            post(Handler::Stream(|call, body| {
                Box::pin(attachments::upload(call, body))
            })),
        ],
    },
    Row {
        path: "attachments/{attachment_id}",
        label: "own_attachment",
        ways: &[other(
            "DELETE",
            Handler::Attachment(|call, id| Box::pin(attachments::delete(call, id))),
        )],
    },
    Row {
        path: "attachments/{attachment_id}/file",
        label: "own_attachment_file",
        ways: &[get(Handler::Attachment(|call, id| {
            Box::pin(attachments::file(call, id))
        }))],
    },
    Row {
        path: "attachments/{attachment_id}/content",
        label: "own_attachment_content",
        ways: &[get(Handler::Linked(|app, request, id| {
            Box::pin(attachments::content(app, request, id))
        }))],
    },
    Row {
        path: "unread",
        label: "own_unread",
        ways: &[get(Handler::Plain(|call| Box::pin(marks::unread(call))))],
    },
    Row {
        path: "search",
        label: "own_search",
        ways: &[get(Handler::Plain(|call| Box::pin(search(call))))],
    },
    Row {
        path: "inbox",
        label: "own_inbox",
        ways: &[get(Handler::Plain(|call| Box::pin(inbox(call))))],
    },
];

/// The parameters that a path captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub conversation: Option<ConversationId>,
    pub message: Option<MessageId>,
    pub attachment: Option<AttachmentId>,
}

impl Row {
    /// Returns the row of a percent-decoded path after the prefix, with what it captures; `None` for
    /// a path that does not exist.
    #[must_use]
    pub fn of(path: &str) -> Option<(&'static Row, Captured)> {
        ROWS.iter().find_map(|row| Some((row, row.capture(path)?)))
    }

    fn capture(&self, path: &str) -> Option<Captured> {
        let (mut names, mut given) = (self.path.split('/'), path.split('/'));
        let mut captured = Captured::default();
        loop {
            match (names.next(), given.next()) {
                (None, None) => return Some(captured),
                (Some("{conversation_id}"), Some(id)) => {
                    captured.conversation = Some(from_path(id)?.into());
                }
                (Some("{message_id}"), Some(id)) => captured.message = Some(from_path(id)?.into()),
                (Some("{attachment_id}"), Some(id)) => {
                    captured.attachment = Some(from_path(id)?.into());
                }
                (Some(name), Some(part)) if name == part => {}
                _ => return None,
            }
        }
    }

    /// Returns the handler of a method, which is in upper case.
    #[must_use]
    pub fn way(&self, method: &str) -> Option<&'static Way> {
        let asked = |way: &&Way| way.method == method || method == "HEAD" && way.answers_head();
        self.ways.iter().find(asked)
    }

    /// Returns the value of the `Allow` header.
    #[must_use]
    pub fn allow(&self) -> String {
        let mut methods = Vec::new();
        for way in self.ways {
            methods.push(way.method);
            if way.answers_head() {
                methods.push("HEAD");
            }
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }
}

impl Way {
    fn answers_head(&self) -> bool {
        self.method == "GET" && !self.is_stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "95031212-7823-4748-bb78-b212d36b6db3";

    fn found(path: &str) -> Option<(&'static str, Captured)> {
        let (row, captured) = Row::of(&path.replace("ID", ID))?;
        Some((row.path, captured))
    }

    #[test]
    fn every_row_is_found_by_its_path_and_its_handlers_take_what_it_captures() {
        for row in ROWS {
            let path = row
                .path
                .replace("{conversation_id}", ID)
                .replace("{message_id}", ID)
                .replace("{attachment_id}", ID);
            let (path, captured) = found(&path).unwrap();
            assert_eq!(path, row.path);
            for way in row.ways {
                let taken = match way.handler {
                    Handler::Plain(_) | Handler::Stream(_) => [false; 3],
                    Handler::Conversation(_) => [true, false, false],
                    Handler::Message(..) => [true, true, false],
                    Handler::Attachment(_) | Handler::Linked(_) => [false, false, true],
                };
                let given = [
                    captured.conversation.is_some(),
                    captured.message.is_some(),
                    captured.attachment.is_some(),
                ];
                assert_eq!(given, taken, "{} {path}", way.method);
            }
        }
    }

    #[test]
    fn a_path_that_differs_by_one_character_does_not_exist() {
        for path in [
            "",
            "me/",
            "/me",
            "conversations/",
            "conversations/7",
            "conversations/ID/",
            "conversations//messages",
            "conversations/ID/messages/ID/",
            "conversations/ID/messages/x",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn a_row_says_which_methods_it_has() {
        let allow = |path: &str| Row::of(&path.replace("ID", ID)).unwrap().0.allow();
        assert_eq!(allow("conversations"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow("conversations/ID/events"), "GET, OPTIONS");
        assert_eq!(allow("conversations/ID/read"), "POST, OPTIONS");
    }
}
