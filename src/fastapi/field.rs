//! Models as data: the names, types and bounds of what a request may hold.

/// A value of a path, a query, the headers or a body.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name on the wire; a header's is in lower case, with dashes.
    pub name: &'static str,
    pub kind: Kind,
    /// Value if there is none in the request; `None` if there must be one.
    pub fallback: Option<Fallback>,
}

impl Field {
    #[must_use]
    pub const fn required(name: &'static str, kind: Kind) -> Self {
        Field {
            name,
            kind,
            fallback: None,
        }
    }

    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind, fallback: Fallback) -> Self {
        Field {
            name,
            kind,
            fallback: Some(fallback),
        }
    }
}

/// A default. It is not validated.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    EmptyList,
}

/// A type, with pydantic's rules for what is converted to it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text(TextBounds),
    Int(IntBounds),
    Float,
    Bool,
    /// Dashes, braces and `urn:uuid:` are accepted; the value is in lower case, with dashes.
    Uuid,
    /// `EmailStr`; the value is the normalized address.
    Email,
    /// The value is a text as `datetime.isoformat` has it.
    DateTime,
    /// One of these texts.
    Literal(&'static [&'static str]),
    List(&'static ListOf),
    /// Null, or a value of this type.
    Nullable(&'static Kind),
    /// An object with these fields.
    Model(&'static Model),
}

impl Kind {
    /// A text of any length.
    pub const TEXT: Kind = Kind::Text(TextBounds::NONE);
    /// Any integer.
    pub const INT: Kind = Kind::Int(IntBounds::NONE);

    /// A text of `min` to `max` characters.
    #[must_use]
    pub const fn text(min: usize, max: usize) -> Self {
        Kind::Text(TextBounds {
            min,
            max,
            pattern: None,
        })
    }

    /// An integer from `min` to `max`.
    #[must_use]
    pub const fn int(min: i64, max: i64) -> Self {
        Kind::Int(IntBounds {
            at_least: Some(min),
            at_most: Some(max),
            ..IntBounds::NONE
        })
    }
}

/// Bounds of a text, in characters.
#[derive(Clone, Copy, Debug)]
pub struct TextBounds {
    pub min: usize,
    pub max: usize,
    pub pattern: Option<Pattern>,
}

impl TextBounds {
    pub const NONE: TextBounds = TextBounds {
        min: 0,
        max: usize::MAX,
        pattern: None,
    };
}

/// A regular expression: its text, which errors show, and the function that stands in for it.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    pub text: &'static str,
    pub matches: fn(&str) -> bool,
}

/// Bounds of an integer.
#[derive(Clone, Copy, Debug)]
pub struct IntBounds {
    pub above: Option<i64>,
    pub at_least: Option<i64>,
    pub at_most: Option<i64>,
}

impl IntBounds {
    pub const NONE: IntBounds = IntBounds {
        above: None,
        at_least: None,
        at_most: None,
    };
    /// Greater than 0, as ids of rows are.
    pub const POSITIVE: IntBounds = IntBounds {
        above: Some(0),
        ..IntBounds::NONE
    };
}

/// A list: the type of its items, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct ListOf {
    pub item: Kind,
    pub min: usize,
    pub max: usize,
}

/// An object with these fields. Other members are ignored.
#[derive(Debug)]
pub struct Model {
    /// Name of the class, as the document of the application shows it.
    pub name: &'static str,
    pub fields: &'static [Field],
}
