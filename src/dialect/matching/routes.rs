//! The operations, one row each, at the root and below `/api/v1`.

use crate::fastapi::{
    arguments::{BodyInput, Inputs},
    bearer::BearerScheme,
    field::{Fallback, Field, Kind, ListOf, Model},
    openapi::AppInfo,
    routes::Route,
};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    CreateRoom,
    ListRooms,
    ShowRoom,
    Leave,
    Send,
    ListMessages,
    Read,
    OpenApi,
}

/// Path below which everything is a second time.
pub const API_V1: &str = "/api/v1";

/// The head of the document.
pub const INFO: AppInfo = AppInfo {
    title: "Matching Chat",
    version: "1.0.0",
    description: None,
    token_url: "token",
};

const TEXT: Kind = Kind::TEXT;
const UUID: Kind = Kind::Uuid;
const ROOM_ID: &[Field] = &[Field::required("room_id", Kind::Uuid)];

static TEXTS: ListOf = ListOf {
    item: TEXT,
    min: 0,
    max: usize::MAX,
};
const LIST_OF_TEXTS: Kind = Kind::List(&TEXTS);

/// A message, as it is sent by REST.
pub static NEW_MESSAGE: Model = Model {
    name: "MessageCreate",
    fields: &[
        Field::required("content", Kind::text(1, 2000)),
        Field::optional(
            "message_type",
            Kind::Literal(&["text", "image", "system"]),
            Fallback::Text("text"),
        ),
        Field::optional(
            "attachments",
            Kind::Nullable(&LIST_OF_TEXTS),
            Fallback::Null,
        ),
    ],
};

static IDS: ListOf = ListOf {
    item: UUID,
    min: 1,
    max: 100,
};
const LIST_OF_IDS: Kind = Kind::List(&IDS);

static READ: Model = Model {
    name: "ReadRequest",
    fields: &[
        maybe("last_read_message_id", &UUID),
        maybe("message_id", &UUID),
        maybe("message_ids", &LIST_OF_IDS),
    ],
};

static USERS: ListOf = ListOf {
    item: Kind::text(1, 36),
    min: 1,
    max: 8,
};

static GROUP: Model = Model {
    name: "GroupInfo",
    fields: &[Field::required("member_ids", Kind::List(&USERS))],
};

static NEW_ROOM: Model = Model {
    name: "RoomCreate",
    fields: &[
        Field::required("proposal_id", Kind::Uuid),
        Field::required("room_name", Kind::text(1, 200)),
        Field::required("display_mode", Kind::Literal(&["blind", "open"])),
        Field::required("group_a_info", Kind::Model(&GROUP)),
        Field::required("group_b_info", Kind::Model(&GROUP)),
    ],
};

const fn maybe(name: &'static str, kind: &'static Kind) -> Field {
    Field::optional(name, Kind::Nullable(kind), Fallback::Null)
}

const fn route(
    (method, path): (&'static str, &'static str),
    (name, label): (&'static str, &'static str),
    inputs: Inputs,
    status: u16,
    handler: Operation,
) -> Route<Operation> {
    Route {
        method,
        path,
        label,
        name,
        tags: &["matching"],
        scheme: Some(BearerScheme::Http),
        inputs,
        status,
        answer: None,
        handler,
    }
}

const fn of_room(body: BodyInput) -> Inputs {
    Inputs {
        path: ROOM_ID,
        body,
        ..Inputs::NONE
    }
}

macro_rules! routes {
    ($prefix:literal) => {
        &[
            route(
                ("GET", concat!($prefix, "/matching/chats")),
                ("list_chats", "matching_rooms"),
                Inputs {
                    query: &[Field::optional(
                        "is_active",
                        Kind::Literal(&["true", "false", "all"]),
                        Fallback::Text("true"),
                    )],
                    ..Inputs::NONE
                },
                200,
                Operation::ListRooms,
            ),
            route(
                ("POST", concat!($prefix, "/matching/chats")),
                ("create_chat", "matching_create_room"),
                Inputs {
                    body: BodyInput::Json(&NEW_ROOM),
                    ..Inputs::NONE
                },
                201,
                Operation::CreateRoom,
            ),
            route(
                ("GET", concat!($prefix, "/matching/chats/{room_id}")),
                ("get_chat", "matching_room"),
                of_room(BodyInput::Nothing),
                200,
                Operation::ShowRoom,
            ),
            route(
                ("POST", concat!($prefix, "/matching/chats/{room_id}/leave")),
                ("leave_chat", "matching_leave"),
                of_room(BodyInput::Nothing),
                200,
                Operation::Leave,
            ),
            route(
                (
                    "POST",
                    concat!($prefix, "/matching/chats/{room_id}/messages"),
                ),
                ("send_message", "matching_send"),
                of_room(BodyInput::Json(&NEW_MESSAGE)),
                201,
                Operation::Send,
            ),
            route(
                (
                    "GET",
                    concat!($prefix, "/matching/chats/{room_id}/messages"),
                ),
                ("get_messages", "matching_messages"),
                Inputs {
                    path: ROOM_ID,
                    query: &[
                        Field::optional("limit", Kind::int(1, 100), Fallback::Int(50)),
                        maybe("before_message_id", &UUID),
                        maybe("before", &UUID),
                    ],
                    ..Inputs::NONE
                },
                200,
                Operation::ListMessages,
            ),
            route(
                ("POST", concat!($prefix, "/matching/chats/{room_id}/read")),
                ("mark_as_read", "matching_read"),
                of_room(BodyInput::Json(&READ)),
                200,
                Operation::Read,
            ),
        ]
    };
}

/// The operations at the root.
pub static ROUTES: &[Route<Operation>] = routes!("");

/// The operations below [`API_V1`].
pub static ROUTES_V1: &[Route<Operation>] = routes!("/api/v1");

/// Operations that the document does not name.
pub static HIDDEN: &[Route<Operation>] = &[Route {
    scheme: None,
    ..route(
        ("GET", "/openapi.json"),
        ("openapi", "matching_openapi"),
        Inputs::NONE,
        200,
        Operation::OpenApi,
    )
}];
