//! The texts and checks of Django REST Framework, in both languages.
//!
//! Stands in for `rest_framework/{exceptions,fields,serializers,metadata}.py` and its Korean
//! translations, as far as the six views need them. Everything here answers with a
//! [`Value`](crate::value::Value): how it is written is settled by content negotiation.

mod detail;
mod errors;
mod ids;
mod message;
mod metadata;
mod texts;

pub use detail::{Detail, Model};
pub use errors::FieldErrors;
pub use ids::{validate_participants, validate_reader};
pub use message::{MessageFields, validate_message};
pub use metadata::{View, options_metadata};

/// The language of the framework's own texts: Django's `LANGUAGE_CODE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    EnUs,
    Ko,
}

#[cfg(test)]
mod tests;
