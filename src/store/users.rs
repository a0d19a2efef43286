//! Django's users, as far as they are ours to know: one query and one row for every database.

use super::UserRow;
use crate::config::{DjangoSession, TableName};

/// The columns of a row, each as text or NULL: primary key, password, whether active, id in the
/// chat.
pub type Columns = [Option<String>; 4];

/// Makes the query for the user whose primary key is one of `keys`, a list in SQL. `quote` goes
/// around names, and `text` is the database's name for what [`Columns`] are read as.
pub fn sql(columns: &DjangoSession, quote: char, text: &str, keys: &str) -> String {
    let name = |column: &TableName| format!("{quote}{column}{quote}");
    let active = columns.active_column.as_ref().map_or("1".to_owned(), name);
    let password = name(&columns.password_column);
    let chat_id = name(&columns.user_column);
    let (table, key) = (name(&columns.users_table), name(&columns.id_column));
    format!(
        "SELECT CAST({key} AS {text}), CAST({password} AS {text}), CAST({active} AS {text}), CAST({chat_id} AS {text}) \
         FROM {table} WHERE {key} IN ({keys})"
    )
}

/// Makes the query for the tokens whose key is one of `keys`: key and user, as text.
pub fn tokens_sql(table: &TableName, quote: char, text: &str, keys: &str) -> String {
    let q = quote;
    format!(
        "SELECT CAST({q}key{q} AS {text}), CAST({q}user_id{q} AS {text}) FROM {q}{table}{q} \
         WHERE {q}key{q} IN ({keys})"
    )
}

pub fn row([key, password, active, chat_id]: Columns) -> UserRow {
    UserRow {
        key: key.unwrap_or_default(),
        password: password.unwrap_or_default(),
        // As MySQL and SQLite write a boolean, and as PostgreSQL does.
        is_active: matches!(active.as_deref(), Some("1" | "true")),
        chat_id: chat_id.unwrap_or_default(),
    }
}
