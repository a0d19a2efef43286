//! Validates values against [`Kind`]s, as pydantic does in its lax mode.
//!
//! All mistakes of a request are found, in the order of its fields. The values that come out have
//! the type that the field asks for.

mod datetime;
mod number;
mod uuid;

use std::borrow::Cow;

use super::{
    email,
    field::{Fallback, Field, IntBounds, Kind, ListOf, Model, TextBounds},
    invalid::{Invalid, member},
};
use crate::{
    config::Generation,
    value::{Text, Value},
};

/// Collects the mistakes of one request.
pub(super) struct Validator {
    generation: Generation,
    /// Place of the value that is looked at.
    place: Vec<Value>,
    pub found: Vec<Invalid>,
}

/// A mistake, without its place and input.
struct Mistake {
    kind: &'static str,
    text: Cow<'static, str>,
    context: Vec<(&'static str, Value)>,
}

impl Mistake {
    fn plain(kind: &'static str, text: &'static str) -> Self {
        Mistake {
            kind,
            text: text.into(),
            context: Vec::new(),
        }
    }

    fn with(kind: &'static str, text: String, name: &'static str, value: Value) -> Self {
        Mistake {
            kind,
            text: text.into(),
            context: vec![(name, value)],
        }
    }
}

/// A validated value, or what is wrong with it.
type Checked = Result<Value, Mistake>;

impl Validator {
    pub fn new(generation: Generation) -> Self {
        Validator {
            generation,
            place: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Does something with values at this place.
    pub fn at<T>(&mut self, place: Value, work: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(place);
        let done = work(self);
        self.place.pop();
        done
    }

    /// Validates the value of a field, if there is one. `around` is what a mistake shows if there
    /// must be one.
    pub fn field(&mut self, field: &Field, sent: Option<&Value>, around: &Value) -> Option<Value> {
        self.at(field.name.into(), |validator| {
            match (sent, field.fallback) {
                (Some(value), _) => validator.value(&field.kind, value),
                (None, Some(fallback)) => Some(value_of(fallback)),
                (None, None) => validator.missing(around),
            }
        })
    }

    /// Notes that a value is missing.
    pub fn missing<T>(&mut self, around: &Value) -> Option<T> {
        self.note(Mistake::plain("missing", "Field required"), around)
    }

    /// Validates an object.
    pub fn model(&mut self, model: &Model, sent: &Value) -> Option<Vec<(&'static str, Value)>> {
        if !matches!(sent, Value::Map(_)) {
            let text = "Input should be a valid dictionary or object to extract fields from";
            return self.note(Mistake::plain("model_attributes_type", text), sent);
        }
        let fields = model.fields.iter();
        let values = fields.map(|field| {
            let value = self.field(field, sent.get(field.name), sent)?;
            Some((field.name, value))
        });
        let values: Vec<_> = values.collect();
        values.into_iter().collect()
    }

    /// Validates an object inside another value.
    fn object(&mut self, model: &Model, sent: &Value) -> Option<Value> {
        let members = self.model(model, sent)?.into_iter();
        let members = members.map(|(name, value)| member(name, value));
        Some(Value::Map(members.collect()))
    }

    /// Validates a value.
    pub fn value(&mut self, kind: &Kind, sent: &Value) -> Option<Value> {
        let checked = match kind {
            Kind::Nullable(_) if *sent == Value::Null => Ok(Value::Null),
            Kind::Nullable(inner) => return self.value(inner, sent),
            Kind::List(list) => return self.list(list, sent),
            Kind::Model(model) => return self.object(model, sent),
            Kind::Text(bounds) => text(bounds, sent),
            Kind::Int(bounds) => number::int(sent).and_then(|int| within(bounds, int)),
            Kind::Float => number::float(sent),
            Kind::Bool => number::bool(sent),
            Kind::Uuid => uuid::read(sent, self.generation),
            Kind::Email => self.email(sent),
            Kind::DateTime => datetime::read(sent),
            Kind::Literal(words) => literal(words, sent),
        };
        checked.map_or_else(|mistake| self.note(mistake, sent), Some)
    }

    fn email(&self, sent: &Value) -> Checked {
        let text = string(sent)?;
        email::normalized(text, self.generation)
            .map(Value::from)
            .map_err(|reason| {
                let text = format!("value is not a valid email address: {reason}");
                Mistake::with("value_error", text, "reason", reason.into_owned().into())
            })
    }

    fn list(&mut self, list: &ListOf, sent: &Value) -> Option<Value> {
        let Value::List(items) = sent else {
            let text = "Input should be a valid list";
            return self.note(Mistake::plain("list_type", text), sent);
        };
        if items.len() > list.max {
            return self.note(length("too_long", "most", list.max, items.len()), sent);
        }
        let numbered = (0_i128..).zip(items);
        let values = numbered.map(|(index, item)| {
            self.at(Value::Int(index), |validator| {
                validator.value(&list.item, item)
            })
        });
        let values: Vec<_> = values.collect();
        let values: Vec<Value> = values.into_iter().collect::<Option<_>>()?;
        if values.len() < list.min {
            return self.note(length("too_short", "least", list.min, values.len()), sent);
        }
        Some(Value::List(values))
    }

    fn note<T>(&mut self, mistake: Mistake, input: &Value) -> Option<T> {
        self.found.push(Invalid {
            kind: mistake.kind,
            place: self.place.clone(),
            text: mistake.text,
            input: input.clone(),
            context: mistake.context,
        });
        None
    }
}

pub(super) fn value_of(fallback: Fallback) -> Value {
    match fallback {
        Fallback::Null => Value::Null,
        Fallback::Bool(flag) => Value::Bool(flag),
        Fallback::Int(int) => Value::Int(int.into()),
        Fallback::Float(float) => Value::Float(float),
        Fallback::Text(text) => Value::Str(Text::fixed(text)),
        Fallback::EmptyList => Value::List(Vec::new()),
    }
}

/// Returns a text without lone surrogates.
fn string(sent: &Value) -> Result<&str, Mistake> {
    match sent {
        Value::Str(Text::Utf8(text)) => Ok(text),
        Value::Str(Text::Surrogates(_)) => {
            let text =
                "Input should be a valid string, unable to parse raw data as a unicode string";
            Err(Mistake::plain("string_unicode", text))
        }
        _ => Err(Mistake::plain(
            "string_type",
            "Input should be a valid string",
        )),
    }
}

fn text(bounds: &TextBounds, sent: &Value) -> Checked {
    let text = string(sent)?;
    // A text has at least a quarter as many characters as bytes.
    let count = text.chars().count();
    for (is_wrong, kind, name, most, bound) in [
        (
            count > bounds.max,
            "string_too_long",
            "max_length",
            "most",
            bounds.max,
        ),
        (
            count < bounds.min,
            "string_too_short",
            "min_length",
            "least",
            bounds.min,
        ),
    ] {
        if is_wrong {
            let text = format!(
                "String should have at {most} {bound} character{}",
                plural(bound)
            );
            return Err(Mistake::with(kind, text, name, size(bound)));
        }
    }
    match bounds.pattern {
        Some(pattern) if !(pattern.matches)(text) => {
            let text = format!("String should match pattern '{}'", pattern.text);
            let pattern = pattern.text.into();
            Err(Mistake::with(
                "string_pattern_mismatch",
                text,
                "pattern",
                pattern,
            ))
        }
        _ => Ok(sent.clone()),
    }
}

fn length(kind: &'static str, most: &str, bound: usize, actual: usize) -> Mistake {
    let name = match kind {
        "too_long" => "max_length",
        _ => "min_length",
    };
    let items = plural(bound);
    Mistake {
        kind,
        text: format!(
            "List should have at {most} {bound} item{items} after validation, not {actual}"
        )
        .into(),
        context: vec![
            ("field_type", "List".into()),
            (name, size(bound)),
            ("actual_length", size(actual)),
        ],
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn size(count: usize) -> Value {
    Value::Int(i128::try_from(count).unwrap_or(i128::MAX))
}

fn within(bounds: &IntBounds, int: Value) -> Checked {
    // Past i128, only the sign counts.
    let number = match &int {
        Value::Int(number) => *number,
        Value::BigInt(digits) if digits.starts_with('-') => i128::MIN,
        _ => i128::MAX,
    };
    for (bound, is_right, kind, name, text) in [
        (
            bounds.at_most,
            (|number, bound| number <= bound) as fn(i128, i128) -> bool,
            "less_than_equal",
            "le",
            "less than or equal to",
        ),
        (
            bounds.at_least,
            |number, bound| number >= bound,
            "greater_than_equal",
            "ge",
            "greater than or equal to",
        ),
        (
            bounds.above,
            |number, bound| number > bound,
            "greater_than",
            "gt",
            "greater than",
        ),
    ] {
        if let Some(bound) = bound
            && !is_right(number, bound.into())
        {
            let text = format!("Input should be {text} {bound}");
            return Err(Mistake::with(kind, text, name, Value::Int(bound.into())));
        }
    }
    Ok(int)
}

fn literal(words: &'static [&'static str], sent: &Value) -> Checked {
    if words.iter().any(|word| sent.as_str() == Some(word)) {
        return Ok(sent.clone());
    }
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let expected = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    let text = format!("Input should be {expected}");
    Err(Mistake::with(
        "literal_error",
        text,
        "expected",
        expected.into(),
    ))
}
