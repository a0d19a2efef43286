//! The body of a 400 for input that was understood and is not good.

use crate::value::Value;

/// Errors of the input, by field in the order of the serializer; a refusal that is about
/// no field has the key `error` or `detail` and a plain text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors {
    members: Vec<(&'static str, Value)>,
}

impl FieldErrors {
    /// Makes a refusal that is about no field.
    pub(super) fn plain(key: &'static str, text: impl Into<Value>) -> Self {
        FieldErrors {
            members: vec![(key, text.into())],
        }
    }

    /// Keeps the good value of a field, or notes what is wrong with it.
    pub(super) fn note<T>(
        &mut self,
        field: &'static str,
        checked: Result<T, Vec<String>>,
    ) -> Option<T> {
        checked
            .map_err(|texts| {
                let texts = texts.into_iter().map(Value::from).collect();
                self.members.push((field, Value::List(texts)));
            })
            .ok()
    }

    /// Returns the body.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let members = self.members.iter();
        Value::Map(
            members
                .map(|(key, value)| ((*key).into(), value.clone()))
                .collect(),
        )
    }
}
