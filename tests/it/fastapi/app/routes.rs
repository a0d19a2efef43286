//! The operations of the application, one row each.

use chatferry::fastapi::{
    arguments::{BodyInput, Inputs},
    bearer::BearerScheme,
    field::{Fallback, Field, Kind},
    openapi::AppInfo,
    routes::Route,
};

use super::models::{
    ANY_ITEM_ID, COERCE, ITEM_ID, LOGIN, NEW_MESSAGE, NO_LENGTH, PEOPLE, PERSON, READ, READ_BATCH,
    ROOM_ID, TYPED, maybe,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    Send,
    Messages,
    Read,
    Boom,
    HttpDict,
    Strict,
    OAuth,
    Dates,
    Echo,
    People,
    Item,
    DeleteItem,
    Events,
}

const fn route(
    method: &'static str,
    path: &'static str,
    inputs: Inputs,
    (name, handler): (&'static str, Operation),
) -> Route<Operation> {
    Route {
        method,
        path,
        label: "application",
        name,
        tags: &[],
        scheme: None,
        inputs,
        status: 200,
        answer: None,
        handler,
    }
}

pub static ROUTES: &[Route<Operation>] = &[
    Route {
        status: 201,
        scheme: Some(BearerScheme::Http),
        ..route(
            "POST",
            "/matching/chats/{room_id}/messages",
            Inputs {
                path: ROOM_ID,
                body: BodyInput::Json(&NEW_MESSAGE),
                ..Inputs::NONE
            },
            ("send", Operation::Send),
        )
    },
    Route {
        scheme: Some(BearerScheme::Http),
        ..route(
            "GET",
            "/matching/chats/{room_id}/messages",
            Inputs {
                path: ROOM_ID,
                query: &[
                    Field::optional("limit", Kind::int(1, 100), Fallback::Int(50)),
                    maybe("before_message_id", &Kind::Uuid),
                ],
                ..Inputs::NONE
            },
            ("messages", Operation::Messages),
        )
    },
    Route {
        scheme: Some(BearerScheme::Http),
        ..route(
            "POST",
            "/matching/chats/{room_id}/read",
            Inputs {
                path: ROOM_ID,
                body: BodyInput::Json(&READ),
                ..Inputs::NONE
            },
            ("read", Operation::Read),
        )
    },
    Route {
        scheme: Some(BearerScheme::Http),
        ..route(
            "POST",
            "/matching/chats/{room_id}/read-batch",
            Inputs {
                path: ROOM_ID,
                body: BodyInput::Json(&READ_BATCH),
                ..Inputs::NONE
            },
            ("read_batch", Operation::Read),
        )
    },
    route("GET", "/boom", Inputs::NONE, ("boom", Operation::Boom)),
    route(
        "GET",
        "/http-dict",
        Inputs::NONE,
        ("http_dict", Operation::HttpDict),
    ),
    Route {
        scheme: Some(BearerScheme::Http),
        ..route(
            "GET",
            "/strict",
            Inputs::NONE,
            ("strict", Operation::Strict),
        )
    },
    Route {
        scheme: Some(BearerScheme::OAuth2),
        ..route("GET", "/oauth", Inputs::NONE, ("oauth", Operation::OAuth))
    },
    route("GET", "/dates", Inputs::NONE, ("dates", Operation::Dates)),
    route(
        "GET",
        "/coerce",
        Inputs {
            query: COERCE,
            ..Inputs::NONE
        },
        ("coerce", Operation::Echo),
    ),
    route(
        "POST",
        "/typed",
        Inputs {
            body: BodyInput::Json(&TYPED),
            ..Inputs::NONE
        },
        ("typed", Operation::Echo),
    ),
    route(
        "POST",
        "/items/{item_id}/",
        Inputs {
            path: ITEM_ID,
            query: &[Field::required("q", Kind::text(2, NO_LENGTH))],
            headers: &[Field::required("x-count", Kind::INT)],
            body: BodyInput::Json(&READ),
        },
        ("items", Operation::Item),
    ),
    Route {
        status: 204,
        ..route(
            "DELETE",
            "/items/{item_id}/",
            Inputs {
                path: ANY_ITEM_ID,
                ..Inputs::NONE
            },
            ("delete_item", Operation::DeleteItem),
        )
    },
    Route {
        tags: &["people"],
        answer: Some(Kind::Model(&PERSON)),
        ..route(
            "POST",
            "/people",
            Inputs {
                body: BodyInput::Json(&PERSON),
                ..Inputs::NONE
            },
            ("add_person", Operation::Echo),
        )
    },
    Route {
        tags: &["people"],
        answer: Some(Kind::List(&PEOPLE)),
        ..route(
            "GET",
            "/people",
            Inputs::NONE,
            ("list_people", Operation::People),
        )
    },
    route(
        "POST",
        "/login",
        Inputs {
            body: BodyInput::Form(&LOGIN),
            ..Inputs::NONE
        },
        ("login", Operation::Echo),
    ),
    route("GET", "/sse", Inputs::NONE, ("sse", Operation::Events)),
];

pub const INFO: AppInfo = AppInfo {
    title: "matching",
    version: "0.1.0",
    description: None,
    token_url: "token",
};
