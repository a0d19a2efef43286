//! Parameters of statements, with the types that a statement which is not prepared must name.

use tokio_postgres::types::{ToSql, Type};

use super::time::Time;

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a dyn Param];

/// A value and its type.
pub trait Param: Sync {
    fn value(&self) -> &(dyn ToSql + Sync);
    fn ty(&self) -> Type;
}

macro_rules! params {
    ($($rust:ty: $one:ident, $many:ident;)*) => {$(
        params!(@ $rust, $one);
        params!(@ Vec<$rust>, $many);
        params!(@ &[$rust], $many);
    )*};
    (@ $rust:ty, $name:ident) => {
        impl Param for $rust {
            fn value(&self) -> &(dyn ToSql + Sync) {
                self
            }

            fn ty(&self) -> Type {
                Type::$name
            }
        }
    };
}

params! {
    &str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &String: TEXT, TEXT_ARRAY;
    Option<String>: TEXT, TEXT_ARRAY;
    Time: TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    i64: INT8, INT8_ARRAY;
    bool: BOOL, BOOL_ARRAY;
}
