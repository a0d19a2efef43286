//! The values of a body, before anybody asks what they mean.
//!
//! Stands in for the dictionary, list or `QueryDict` that DRF calls `request.data`.

use crate::python::pystr;
use crate::value::{Text, Value};

/// A parsed body.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A JSON value, which need not be an object. An empty body is an empty one.
    Json(Value),
    /// A form of either kind.
    Form(Form),
}

/// A form's fields and files, each name with its last value last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Form {
    pub(super) fields: Vec<(String, String)>,
    /// Name of the field and of the file.
    pub(super) files: Vec<(String, String)>,
    /// Django would have put the files on disk, where it cannot copy them.
    pub(super) has_large_upload: bool,
}

/// One value of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    Json(&'a Value),
    Text(&'a str),
    /// An uploaded file: to Python an object that is true and prints as its name. Test:
    /// `a_file_is_true_and_prints_as_its_name_and_hides_a_field`.
    File(&'a str),
}

impl Data {
    /// Returns the value of `key`: the last one of a form, where files come after fields.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry<'_>> {
        match self {
            Data::Json(value) => value.get(key).map(Entry::Json),
            Data::Form(form) => form.get(key),
        }
    }

    /// Returns whether the body is a form, to which blank and missing mean something else than to
    /// JSON.
    #[must_use]
    pub fn is_form(&self) -> bool {
        matches!(self, Data::Form(_))
    }

    /// Python's name for the type of a body that is neither a form nor an object.
    #[must_use]
    pub fn non_object_type(&self) -> Option<&'static str> {
        match self {
            Data::Form(_) | Data::Json(Value::Map(_)) => None,
            Data::Json(Value::Null) => Some("NoneType"),
            Data::Json(Value::Bool(_)) => Some("bool"),
            Data::Json(Value::Int(_) | Value::BigInt(_)) => Some("int"),
            Data::Json(Value::Float(_)) => Some("float"),
            Data::Json(Value::Str(_)) => Some("str"),
            Data::Json(Value::List(_)) => Some("list"),
        }
    }

    /// Returns whether copying the data makes Django crash.
    #[must_use]
    pub fn has_large_upload(&self) -> bool {
        matches!(self, Data::Form(form) if form.has_large_upload)
    }
}

impl Form {
    fn get(&self, key: &str) -> Option<Entry<'_>> {
        let last = |pairs: &'_ [(String, String)]| pairs.iter().rposition(|(name, _)| name == key);
        if let Some((_, file)) = last(&self.files).and_then(|i| self.files.get(i)) {
            return Some(Entry::File(file));
        }
        let (_, text) = last(&self.fields).and_then(|i| self.fields.get(i))?;
        Some(Entry::Text(text))
    }
}

impl Entry<'_> {
    /// `str(value)`
    #[must_use]
    pub fn to_text(self) -> Text {
        match self {
            Entry::Json(value) => pystr::str_of(value),
            Entry::Text(text) | Entry::File(text) => text.into(),
        }
    }

    /// `bool(value)`
    #[must_use]
    pub fn is_truthy(self) -> bool {
        match self {
            Entry::Json(value) => pystr::is_truthy(value),
            Entry::Text(text) | Entry::File(text) => !text.is_empty(),
        }
    }
}
