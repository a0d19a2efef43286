//! Answers to `OPTIONS`.
//!
//! Stands in for `SimpleMetadata` in `rest_framework/metadata.py`: the name of the view, its
//! docstring, and the media types of the defaults. Nothing of it is translated.

use crate::value::Value;

/// A view as its answers to people and to `OPTIONS` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Django's name for people: that of the function or class, in words.
    pub name: &'static str,
    /// The docstring, in one line.
    pub description: &'static str,
}

/// Returns the body of a 200 to `OPTIONS`.
#[must_use]
pub fn options_metadata(view: View) -> Value {
    let list = |texts: &[&str]| Value::List(texts.iter().map(|&text| text.into()).collect());
    let parsers = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ];
    Value::Map(vec![
        ("name".into(), view.name.into()),
        ("description".into(), view.description.into()),
        ("renders".into(), list(&["application/json", "text/html"])),
        ("parses".into(), list(&parsers)),
    ])
}
