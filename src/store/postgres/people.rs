//! Participants, logins and users; the last two are in Django's own tables.

use bytes::BytesMut;
use tokio_postgres::{
    Error, Row,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    param::Param,
    pool::PostgresPool,
    row::{participants_at, time_at},
    time::Time,
};
use crate::{
    chat::Participants,
    config::{DjangoSession, TableName},
    id::ConversationId,
    python::datetime::Timestamp,
    store::{SessionRow, StoreError, Subject, TokenRow, UserRow, schema::layout::Layout, users},
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

impl Param for Written<'_> {
    fn value(&self) -> &(dyn ToSql + Sync) {
        self
    }

    fn ty(&self) -> Type {
        Type::UNKNOWN
    }
}

pub async fn participants(
    pool: &PostgresPool,
    layout: &Layout,
    of: Subject,
) -> Result<Option<Participants>, StoreError> {
    let Layout {
        conversations,
        messages,
        ..
    } = layout;
    let (which, id): (_, &dyn Param) = match &of {
        Subject::Conversation(id) => ("$1".to_owned(), id),
        Subject::Message(id) => (
            format!("(SELECT conversation_id FROM {messages} AS m WHERE id = $1)"),
            id,
        ),
    };
    let sql = format!(
        "SELECT participant1_id, participant2_id FROM {conversations} AS c WHERE id = {which}"
    );
    let rows = pool.query(&sql, &[id]).await?;
    rows.first().map(|row| participants_at(row, 0)).transpose()
}

/// Returns the conversations, of those given, that are active.
pub async fn active_participants(
    pool: &PostgresPool,
    layout: &Layout,
    of: &[ConversationId],
) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
    let sql = format!(
        "SELECT id, participant1_id, participant2_id FROM {} AS c \
         WHERE id = ANY($1) AND is_active",
        layout.conversations
    );
    let rows = pool.query(&sql, &[&of]).await?;
    let active = |row: &Row| Ok((row.try_get(0)?, participants_at(row, 1)?));
    rows.iter().map(active).collect()
}

/// Returns the sessions of these keys, but for those that have run out. A database without Django's
/// session table has no sessions.
pub async fn sessions(
    pool: &PostgresPool,
    keys: &[&String],
) -> Result<Vec<SessionRow>, StoreError> {
    let table = "SELECT to_regclass('django_session') IS NOT NULL";
    let rows = pool.query(table, &[]).await?;
    let there = rows.first().map(|row| row.try_get(0)).transpose()?;
    if there != Some(true) {
        return Ok(Vec::new());
    }
    let sql = "SELECT session_key, session_data, expire_date FROM django_session \
               WHERE session_key = ANY($1) AND expire_date > $2";
    let now = Time(Timestamp::now());
    let rows = pool.query(sql, &[&keys, &now]).await?;
    let session = |row: &Row| {
        Ok(SessionRow {
            key: row.try_get(0)?,
            data: row.try_get(1)?,
            expires: time_at(row, 2)?,
        })
    };
    Ok(rows.iter().map(session).collect::<Result<_, Error>>()?)
}

/// Returns the tokens of these keys.
pub async fn tokens(
    pool: &PostgresPool,
    table: &TableName,
    keys: &[&String],
) -> Result<Vec<TokenRow>, StoreError> {
    let sql = users::tokens_sql(table, '"', "text", "SELECT unnest($1::text[])");
    let rows = pool.query(&sql, &[&keys]).await?;
    let token = |row: &Row| {
        let (key, user) = (row.try_get(0)?, row.try_get(1)?);
        Ok(TokenRow { key, user })
    };
    Ok(rows.iter().map(token).collect::<Result<_, Error>>()?)
}

/// Returns the users of these primary keys.
///
/// # Errors
/// [`StoreError::Refused`] if one of the keys is not of the column's type.
pub async fn users(
    pool: &PostgresPool,
    columns: &DjangoSession,
    ids: &[&String],
) -> Result<Vec<UserRow>, StoreError> {
    let Some(&last) = ids.last() else {
        return Ok(Vec::new());
    };
    // A few lengths, as each is a statement that a connection keeps.
    let mut ids = ids.to_vec();
    ids.resize(ids.len().next_power_of_two(), last);
    let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
    let sql = users::sql(columns, '"', "text", &places.join(", "));
    let ids: Vec<Written<'_>> = ids.iter().map(|id| Written(id)).collect();
    let values: Vec<&dyn Param> = ids.iter().map(|id| id as _).collect();
    let rows = pool.query(&sql, &values).await?;
    let user = |row: &Row| {
        Ok(users::row([
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
        ]))
    };
    Ok(rows.iter().map(user).collect::<Result<_, Error>>()?)
}
