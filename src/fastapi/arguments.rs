//! The inputs of an operation, and the values that a request has for them.

use form_urlencoded::parse;
use hyper::{HeaderMap, header::HeaderValue};
use uuid::Uuid;

use super::{
    body::SentBody,
    error::HttpError,
    field::{Fallback, Field, Kind, Model},
    routes::Captured,
    validate::Validator,
};
use crate::{config::Generation, value::Value};

/// The values that an operation asks for. Their names are unique.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Parameters of the path.
    pub path: &'static [Field],
    pub query: &'static [Field],
    pub headers: &'static [Field],
    pub body: BodyInput,
}

/// Input of an operation that is in the body.
#[derive(Clone, Copy, Debug)]
pub enum BodyInput {
    Nothing,
    Json(&'static Model),
    /// Fields of a form, `application/x-www-form-urlencoded`.
    Form(&'static Model),
}

impl Inputs {
    pub const NONE: Inputs = Inputs {
        path: &[],
        query: &[],
        headers: &[],
        body: BodyInput::Nothing,
    };

    /// Validates what was sent: the path first, then the query, the headers and the body.
    ///
    /// # Errors
    /// 422 with all mistakes.
    pub fn read(&self, sent: &Sent<'_>, generation: Generation) -> Result<Arguments, HttpError> {
        let mut validator = Validator::new(generation);
        let mut values = Vec::new();
        for field in self.path {
            let text = sent.captured.iter().find(|(name, _)| *name == field.name);
            let value = text.map(|(_, text)| text.clone().into());
            values.push(parameter(&mut validator, "path", field, value.as_ref()));
        }
        let query: Vec<_> = parse(sent.query.unwrap_or_default().as_bytes()).collect();
        for field in self.query {
            let named = query.iter().filter(|(name, _)| name == field.name);
            let mut texts = named.map(|(_, text)| Value::from(&**text));
            let value = if is_list(&field.kind) {
                Some(Value::List(texts.collect())).filter(|it| *it != Value::List(Vec::new()))
            } else {
                texts.next_back()
            };
            values.push(parameter(&mut validator, "query", field, value.as_ref()));
        }
        for field in self.headers {
            let bytes = sent.headers.get(field.name).map(HeaderValue::as_bytes);
            let latin1 = bytes.map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect());
            let value = latin1.map(|text: String| text.into());
            values.push(parameter(&mut validator, "header", field, value.as_ref()));
        }
        match self.body {
            BodyInput::Nothing => {}
            BodyInput::Json(model) => {
                let fields = read_json(&mut validator, model, sent.body, generation);
                values.extend(fields.into_iter().flatten().map(Some));
            }
            BodyInput::Form(model) => {
                for field in model.fields {
                    let value = form_value(field, sent.body, generation);
                    values.push(parameter(&mut validator, "body", field, value.as_ref()));
                }
            }
        }
        if validator.found.is_empty() {
            Ok(Arguments(values.into_iter().flatten().collect()))
        } else {
            Err(HttpError::invalid(validator.found))
        }
    }
}

/// The parts of a request, before they are validated.
#[derive(Debug)]
pub struct Sent<'a> {
    pub captured: &'a Captured,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a SentBody,
}

type Argument = (&'static str, Value);

fn parameter(
    validator: &mut Validator,
    source: &'static str,
    field: &'static Field,
    value: Option<&Value>,
) -> Option<Argument> {
    let value = validator.at(source.into(), |validator| {
        validator.field(field, value, &Value::Null)
    })?;
    Some((field.name, value))
}

fn is_list(kind: &Kind) -> bool {
    match kind {
        Kind::List(_) => true,
        Kind::Nullable(inner) => is_list(inner),
        _ => false,
    }
}

/// Returns the last value of a form's field. An empty one is none, but the first generation takes it
/// for a field without a default.
fn form_value(field: &Field, sent: &SentBody, generation: Generation) -> Option<Value> {
    let has_default = !matches!(field.fallback, None | Some(Fallback::Null));
    let takes_empty = generation == Generation::V0_115 && !has_default;
    let named = sent.form().iter().rfind(|(name, _)| name == field.name);
    let text = named.filter(|(_, text)| takes_empty || !text.is_empty());
    text.map(|(_, text)| text.clone().into())
}

fn read_json(
    validator: &mut Validator,
    model: &Model,
    sent: &SentBody,
    generation: Generation,
) -> Option<Vec<Argument>> {
    let is_old = generation != Generation::V0_165;
    validator.at("body".into(), |validator| match sent {
        SentBody::Nothing => validator.missing(&Value::Null),
        SentBody::Json(Value::Null) if is_old => validator.missing(&Value::Null),
        SentBody::Json(value) => validator.model(model, value),
        SentBody::Other(text) => validator.model(model, &text.clone().into()),
        // A form is not read for an operation that asks for JSON.
        SentBody::Form(_) => None,
    })
}

/// The values that a request was validated to.
#[derive(Debug)]
pub struct Arguments(Vec<Argument>);

impl Arguments {
    /// Reads a value that came by another way as a body of this model.
    ///
    /// # Errors
    /// 422 with all mistakes, as for a body.
    pub fn of(model: &Model, value: &Value, generation: Generation) -> Result<Self, HttpError> {
        let mut validator = Validator::new(generation);
        let fields = validator.at("body".into(), |validator| validator.model(model, value));
        match fields {
            Some(fields) if validator.found.is_empty() => Ok(Arguments(fields)),
            _ => Err(HttpError::invalid(validator.found)),
        }
    }

    /// Returns a value; null if there is none of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(&Value::Null, |(_, value)| value)
    }

    /// Returns a text; `None` if it is null.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).as_str()
    }

    /// Returns an integer, or the nearest there is room for; `None` if it is null.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Int(int) => {
                Some(i64::try_from(*int).unwrap_or(if *int < 0 { i64::MIN } else { i64::MAX }))
            }
            Value::BigInt(digits) if digits.starts_with('-') => Some(i64::MIN),
            Value::BigInt(_) => Some(i64::MAX),
            _ => None,
        }
    }

    /// Returns a UUID; `None` if it is null.
    #[must_use]
    pub fn uuid(&self, name: &str) -> Option<Uuid> {
        Uuid::try_parse(self.text(name)?).ok()
    }
}
