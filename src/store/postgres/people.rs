//! Who takes part, who is logged in, and who they are: the last two in Django's own tables.

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::{
    pool::Pool,
    query::{Time, time_at},
};
use crate::{
    config::{DjangoSession, Tables},
    django::datetime::Timestamp,
    store::{Of, SessionRow, StoreError, UserRow, users},
};

/// A value as text, for a column whose type is Django's affair: the server reads it.
#[derive(Debug)]
struct Written<'a>(&'a str);

impl ToSql for Written<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

pub async fn participants(
    pool: &Pool,
    tables: &Tables,
    of: Of,
) -> Result<Option<[String; 2]>, StoreError> {
    let Tables {
        conversations,
        messages,
        ..
    } = tables;
    let (which, id): (String, Uuid) = match of {
        Of::Conversation(id) => ("$1".to_owned(), id),
        Of::Message(id) => (
            format!("(SELECT conversation_id FROM \"{messages}\" WHERE id = $1)"),
            id,
        ),
    };
    let sql = format!(
        "SELECT participant1_id, participant2_id FROM \"{conversations}\" WHERE id = {which}"
    );
    let rows = pool.query(&sql, &[&id]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some([row.try_get(0)?, row.try_get(1)?]))
}

/// The session of this key, unless it has run out. A database without Django's session table has
/// no sessions.
pub async fn session(pool: &Pool, session_key: &str) -> Result<Option<SessionRow>, StoreError> {
    let table = "SELECT to_regclass('django_session') IS NOT NULL";
    let rows = pool.query(table, &[]).await?;
    let there = rows.first().map(|row| row.try_get(0)).transpose()?;
    if there != Some(true) {
        return Ok(None);
    }
    let sql = "SELECT session_key, session_data, expire_date FROM django_session \
               WHERE session_key = $1 AND expire_date > $2";
    let now = Time(Timestamp::now());
    let rows = pool.query(sql, &[&session_key, &now]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(SessionRow {
        key: row.try_get(0)?,
        data: row.try_get(1)?,
        expires: time_at(row, 2)?,
    }))
}

/// The user of this primary key.
pub async fn user(
    pool: &Pool,
    columns: &DjangoSession,
    id: &str,
) -> Result<Option<UserRow>, StoreError> {
    let sql = users::sql(columns, '"', "text", "$1");
    let rows = match pool.query(&sql, &[&Written(id)]).await {
        // Not a key of this type, so nobody's.
        Err(StoreError::Refused(_)) => return Ok(None),
        rows => rows?,
    };
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let row = [
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
    ];
    Ok(Some(users::row(row)))
}
