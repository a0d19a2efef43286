//! The operations, one row each, in the original's order, which decides between them.

use crate::fastapi::{
    arguments::{BodyInput, Inputs},
    bearer::BearerScheme,
    field::{Fallback, Field, IntBounds, Kind, ListOf, Model},
    openapi::AppInfo,
    routes::Route,
};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Register,
    Login,
    Refresh,
    Logout,
    Me,
    CreateChat,
    ListChats,
    SearchUsers,
    SendMessage,
    ListMessages,
    EditMessage,
    DeleteMessage,
    Root,
    Health,
    OpenApi,
}

/// The head of the document.
pub const INFO: AppInfo = AppInfo {
    title: "Messenger API",
    version: "1.0.0",
    description: Some("Приложение для обмена сообщениями в режиме реального времени"),
    token_url: "auth/login",
};

const ID: Kind = Kind::Int(IntBounds::POSITIVE);
const CONTENT: Kind = Kind::text(1, 2000);
const PASSWORD: Kind = Kind::text(8, 72);
const ANY_TEXT: Kind = Kind::TEXT;
const ANY_EMAIL: Kind = Kind::Email;
const CHAT_NAME: Kind = Kind::text(0, 100);

static USER_CREATE: Model = Model {
    name: "UserCreate",
    fields: &[
        Field::required("username", Kind::text(3, 50)),
        Field::required("email", Kind::Email),
        Field::required("password", PASSWORD),
    ],
};

static USER_LOGIN: Model = Model {
    name: "UserLogin",
    fields: &[
        Field::optional("username", Kind::Nullable(&ANY_TEXT), Fallback::Null),
        Field::optional("email", Kind::Nullable(&ANY_EMAIL), Fallback::Null),
        Field::required("password", Kind::text(8, usize::MAX)),
    ],
};

static REFRESH: Model = Model {
    name: "RefreshTokenRequest",
    fields: &[Field::required("refresh_token", Kind::TEXT)],
};

static CHAT_CREATE: Model = Model {
    name: "ChatCreate",
    fields: &[
        Field::required("second_user_id", ID),
        Field::optional("name", Kind::Nullable(&CHAT_NAME), Fallback::Null),
    ],
};

/// Fields of the parent model come first.
static MESSAGE_CREATE: Model = Model {
    name: "MessageCreate",
    fields: &[
        Field::required("content", CONTENT),
        Field::required("chat_id", ID),
    ],
};

static MESSAGE_EDIT: Model = Model {
    name: "MessageEdit",
    fields: &[Field::required("content", CONTENT)],
};

static USER: Model = Model {
    name: "UserResponse",
    fields: &[
        Field::required("id", Kind::INT),
        Field::required("username", Kind::TEXT),
        Field::required("email", Kind::TEXT),
        Field::required("is_active", Kind::Bool),
        Field::required("created_at", Kind::DateTime),
    ],
};

static CHAT: Model = Model {
    name: "ChatResponse",
    fields: &[
        Field::optional("name", Kind::Nullable(&ANY_TEXT), Fallback::Null),
        Field::required("id", Kind::INT),
        Field::required("is_group", Kind::Bool),
        Field::required("created_at", Kind::DateTime),
        Field::required("participants", Kind::List(&USERS)),
    ],
};

static CHAT_ID: Model = Model {
    name: "ChatIdResponse",
    fields: &[Field::required("id", Kind::INT)],
};

static MESSAGE: Model = Model {
    name: "MessageResponse",
    fields: &[
        Field::required("content", Kind::TEXT),
        Field::required("chat_id", Kind::INT),
        Field::required("id", Kind::INT),
        Field::required("sender_id", Kind::INT),
        Field::required("created_at", Kind::DateTime),
        Field::optional(
            "delivered_at",
            Kind::Nullable(&Kind::DateTime),
            Fallback::Null,
        ),
        Field::optional("read_at", Kind::Nullable(&Kind::DateTime), Fallback::Null),
        Field::optional("is_delete", Kind::Bool, Fallback::Bool(false)),
    ],
};

static TOKENS: Model = Model {
    name: "Token",
    fields: &[
        Field::required("access_token", Kind::TEXT),
        Field::required("refresh_token", Kind::TEXT),
        Field::optional("token_type", Kind::TEXT, Fallback::Text("bearer")),
    ],
};

static USERS: ListOf = all(Kind::Model(&USER));
static CHAT_IDS: ListOf = all(Kind::Model(&CHAT_ID));
static MESSAGES: ListOf = all(Kind::Model(&MESSAGE));

const fn all(item: Kind) -> ListOf {
    ListOf {
        item,
        min: 0,
        max: usize::MAX,
    }
}

const LIMIT: Kind = Kind::int(1, 100);
const OFFSET: Kind = Kind::Int(IntBounds {
    at_least: Some(0),
    ..IntBounds::NONE
});

const MESSAGE_ID: &[Field] = &[Field::required("message_id", Kind::INT)];

const fn json(model: &'static Model) -> Inputs {
    Inputs {
        body: BodyInput::Json(model),
        ..Inputs::NONE
    }
}

const fn query(query: &'static [Field]) -> Inputs {
    Inputs {
        query,
        ..Inputs::NONE
    }
}

const fn route(
    (method, path): (&'static str, &'static str),
    (name, label): (&'static str, &'static str),
    inputs: Inputs,
    answer: Option<Kind>,
    handler: Operation,
) -> Route<Operation> {
    Route {
        method,
        path,
        label,
        name,
        tags: &[],
        scheme: None,
        inputs,
        status: 200,
        answer,
        handler,
    }
}

/// An operation of users who are known.
const fn of_user(
    tags: &'static [&'static str],
    way: (&'static str, &'static str),
    names: (&'static str, &'static str),
    inputs: Inputs,
    answer: Option<Kind>,
    handler: Operation,
) -> Route<Operation> {
    Route {
        scheme: Some(BearerScheme::OAuth2),
        tags,
        ..route(way, names, inputs, answer, handler)
    }
}

/// The operations.
pub static ROUTES: &[Route<Operation>] = &[
    Route {
        status: 201,
        tags: &["auth"],
        ..route(
            ("POST", "/auth/register"),
            ("register", "messenger_register"),
            json(&USER_CREATE),
            Some(Kind::Model(&TOKENS)),
            Operation::Register,
        )
    },
    Route {
        tags: &["auth"],
        ..route(
            ("POST", "/auth/login"),
            ("login", "messenger_login"),
            json(&USER_LOGIN),
            Some(Kind::Model(&TOKENS)),
            Operation::Login,
        )
    },
    Route {
        tags: &["auth"],
        ..route(
            ("POST", "/auth/refresh"),
            ("refresh_token", "messenger_refresh"),
            json(&REFRESH),
            Some(Kind::Model(&TOKENS)),
            Operation::Refresh,
        )
    },
    Route {
        status: 204,
        ..of_user(
            &["auth"],
            ("POST", "/auth/logout"),
            ("logout", "messenger_logout"),
            json(&REFRESH),
            None,
            Operation::Logout,
        )
    },
    of_user(
        &["users"],
        ("GET", "/users/me"),
        ("get_me", "messenger_me"),
        Inputs::NONE,
        Some(Kind::Model(&USER)),
        Operation::Me,
    ),
    of_user(
        &["chats"],
        ("POST", "/chats/"),
        ("create_chat", "messenger_create_chat"),
        json(&CHAT_CREATE),
        Some(Kind::Model(&CHAT)),
        Operation::CreateChat,
    ),
    of_user(
        &["chats"],
        ("GET", "/chats/"),
        ("get_chats", "messenger_chats"),
        Inputs::NONE,
        Some(Kind::List(&CHAT_IDS)),
        Operation::ListChats,
    ),
    of_user(
        &["chats"],
        ("GET", "/chats/search"),
        ("search_users", "messenger_search"),
        query(&[
            Field::required("q", Kind::text(2, usize::MAX)),
            Field::optional("limit", LIMIT, Fallback::Int(20)),
        ]),
        Some(Kind::List(&USERS)),
        Operation::SearchUsers,
    ),
    of_user(
        &["messages"],
        ("POST", "/messages/"),
        ("send_message", "messenger_send"),
        json(&MESSAGE_CREATE),
        Some(Kind::Model(&MESSAGE)),
        Operation::SendMessage,
    ),
    of_user(
        &["messages"],
        ("GET", "/messages/"),
        ("get_messages", "messenger_messages"),
        query(&[
            Field::required("chat_id", Kind::INT),
            Field::optional("limit", LIMIT, Fallback::Int(50)),
            Field::optional("offset", OFFSET, Fallback::Int(0)),
        ]),
        Some(Kind::List(&MESSAGES)),
        Operation::ListMessages,
    ),
    of_user(
        &["messages"],
        ("PATCH", "/messages/{message_id}/edit"),
        ("edit_message", "messenger_edit"),
        Inputs {
            path: MESSAGE_ID,
            body: BodyInput::Json(&MESSAGE_EDIT),
            ..Inputs::NONE
        },
        None,
        Operation::EditMessage,
    ),
    Route {
        status: 204,
        ..of_user(
            &["messages"],
            ("DELETE", "/messages/{message_id}/delete"),
            ("delete_message", "messenger_delete"),
            Inputs {
                path: MESSAGE_ID,
                ..Inputs::NONE
            },
            None,
            Operation::DeleteMessage,
        )
    },
    route(
        ("GET", "/"),
        ("root", "messenger_root"),
        Inputs::NONE,
        None,
        Operation::Root,
    ),
    route(
        ("GET", "/health"),
        ("health_check", "messenger_health"),
        Inputs::NONE,
        None,
        Operation::Health,
    ),
];

/// Operations that the document does not name.
pub static HIDDEN: &[Route<Operation>] = &[route(
    ("GET", "/openapi.json"),
    ("openapi", "messenger_openapi"),
    Inputs::NONE,
    None,
    Operation::OpenApi,
)];
