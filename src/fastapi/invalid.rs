//! One mistake in a request, in pydantic's words.

use std::borrow::Cow;

use crate::value::{Text, Value};

/// A value that does not fit its field, and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// Pydantic's name of the mistake.
    pub kind: &'static str,
    /// Place in the request: names, and the indexes of items.
    pub place: Vec<Value>,
    pub text: Cow<'static, str>,
    /// The value that was sent.
    pub input: Value,
    pub context: Vec<(&'static str, Value)>,
}

impl Invalid {
    /// Returns the mistake as the list of `detail` has it.
    #[must_use]
    pub fn into_value(self) -> Value {
        let mut members = vec![
            member("type", self.kind.into()),
            member("loc", Value::List(self.place)),
            member("msg", self.text.into_owned().into()),
            member("input", self.input),
        ];
        if !self.context.is_empty() {
            let context = self.context.into_iter();
            let context = context.map(|(name, value)| member(name, value)).collect();
            members.push(member("ctx", Value::Map(context)));
        }
        Value::Map(members)
    }
}

/// Makes a member of an object.
#[must_use]
pub fn member(name: &'static str, value: Value) -> (Text, Value) {
    (Text::fixed(name), value)
}
