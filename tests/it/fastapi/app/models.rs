//! The inputs of the application's operations.

use chatferry::fastapi::field::{
    Fallback, Field, IntBounds, Kind, ListOf, Model, Pattern, TextBounds,
};

pub const ROOM_ID: &[Field] = &[Field::required("room_id", Kind::Uuid)];
pub const ITEM_ID: &[Field] = &[Field::required("item_id", Kind::Int(IntBounds::POSITIVE))];
pub const ANY_ITEM_ID: &[Field] = &[Field::required("item_id", Kind::INT)];

pub const NO_LENGTH: usize = usize::MAX;
pub static TEXTS: ListOf = ListOf {
    item: Kind::TEXT,
    min: 0,
    max: NO_LENGTH,
};
pub static ANY_TEXTS: Kind = Kind::List(&TEXTS);
pub static IDS: ListOf = ListOf {
    item: Kind::Uuid,
    min: 1,
    max: 100,
};
pub static INTS: ListOf = ListOf {
    item: Kind::INT,
    min: 0,
    max: NO_LENGTH,
};
pub static THREE_INTS: Kind = Kind::List(&ListOf {
    item: Kind::INT,
    min: 1,
    max: 3,
});
pub static SHORT_TEXTS: Kind = Kind::List(&ListOf {
    item: Kind::text(0, 3),
    min: 0,
    max: NO_LENGTH,
});

pub const TYPES: Pattern = Pattern {
    text: "^(text|image|system)$",
    matches: |text| ["text", "image", "system"].contains(&text),
};

pub static NEW_MESSAGE: Model = Model {
    name: "NewMessage",
    fields: &[
        Field::required("content", Kind::text(1, 2000)),
        Field::optional(
            "message_type",
            Kind::Text(TextBounds {
                pattern: Some(TYPES),
                ..TextBounds::NONE
            }),
            Fallback::Text("text"),
        ),
        Field::optional("attachments", Kind::Nullable(&ANY_TEXTS), Fallback::Null),
    ],
};
pub static READ: Model = Model {
    name: "Read",
    fields: &[Field::required("last_read_message_id", Kind::Uuid)],
};
pub static READ_BATCH: Model = Model {
    name: "ReadBatch",
    fields: &[Field::required("message_ids", Kind::List(&IDS))],
};

pub const fn maybe(name: &'static str, kind: &'static Kind) -> Field {
    Field::optional(name, Kind::Nullable(kind), Fallback::Null)
}

pub static TYPED: Model = Model {
    name: "Typed",
    fields: &[
        maybe("text", &Kind::text(2, 4)),
        maybe("count", &Kind::INT),
        maybe(
            "bounded",
            &Kind::Int(IntBounds {
                above: Some(0),
                at_least: None,
                at_most: Some(100),
            }),
        ),
        maybe("ratio", &Kind::Float),
        maybe("flag", &Kind::Bool),
        maybe("uid", &Kind::Uuid),
        maybe("mail", &Kind::Email),
        maybe("time", &Kind::DateTime),
        maybe("word", &Kind::Literal(&["a", "b", "c"])),
        maybe("numbers", &THREE_INTS),
        maybe("texts", &SHORT_TEXTS),
        Field::required("required", Kind::int(1, 9)),
    ],
};

pub static ADDRESS: Model = Model {
    name: "Address",
    fields: &[
        Field::required("street", Kind::text(1, NO_LENGTH)),
        Field::required("number", Kind::Nullable(&Kind::INT)),
    ],
};
pub static ADDRESSES: ListOf = ListOf {
    item: Kind::Model(&ADDRESS),
    min: 0,
    max: NO_LENGTH,
};
pub static PERSON: Model = Model {
    name: "Person",
    fields: &[
        Field::required("name", Kind::TEXT),
        Field::required("address", Kind::Model(&ADDRESS)),
        Field::required("others", Kind::List(&ADDRESSES)),
    ],
};
pub static PEOPLE: ListOf = ListOf {
    item: Kind::Model(&PERSON),
    min: 0,
    max: NO_LENGTH,
};
pub static LOGIN: Model = Model {
    name: "Body_login_login_post",
    fields: &[
        Field::required("username", Kind::text(2, NO_LENGTH)),
        Field::required("password", Kind::TEXT),
        Field::optional("scope", Kind::TEXT, Fallback::Text("")),
    ],
};

pub const COERCE: &[Field] = &[
    Field::optional("b", Kind::Bool, Fallback::Bool(false)),
    Field::optional("i", Kind::INT, Fallback::Int(0)),
    Field::optional("f", Kind::Float, Fallback::Float(0.0)),
    Field::optional("l", Kind::Literal(&["a", "b"]), Fallback::Text("a")),
    maybe("e", &Kind::Email),
    maybe("d", &Kind::DateTime),
    Field::optional("xs", Kind::List(&INTS), Fallback::EmptyList),
];
