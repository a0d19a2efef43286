//! The index by which messages are found by their text: trigrams (`pg_trgm`) of their letters, taken
//! apart. `src/store/README.md` has the reasons, and what it costs.
//!
//! It is an index on the table of messages, so whatever stores a message, Django too, keeps it whole. It
//! is made by `chatferry migrate --search` only. Each search looks whether it is there and can be used,
//! so that it may come and go while servers run.

use super::{
    PostgresStore,
    connection::PostgresConnection,
    migrate::quoted,
    param::{Param, Params},
    query::signed,
    row::page,
    time::Time,
};
use crate::{
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{
        StoreError,
        history::{PAGE_BYTES, PAGE_MESSAGES, Page},
        schema::{Table, layout::MESSAGE_LIST},
    },
};

/// The extension that the index needs. It is trusted: every role that may create in the database may add it.
const EXTENSION: &str = "CREATE EXTENSION IF NOT EXISTS pg_trgm";

/// Letters of the shortest run that the index can tell from others.
const TRIGRAM: usize = 3;

/// Most runs that a statement asks for: few statements are prepared, and the longest runs tell most.
const RUNS_MAX: usize = 4;

/// Returns the name of the index on a table of messages. It is in the schema of the table.
fn name(messages: &Table) -> String {
    format!("chatferry_search_{}", messages.name.as_str())
}

/// Returns the text that is indexed, as [`letters`](crate::chat::search::letters) expects it. The
/// collation is one of every server that is built with ICU, and changes letters as Unicode says.
fn indexed(content: &str) -> String {
    format!("lower(upper(normalize({content}, NFKD) COLLATE \"und-x-icu\"))")
}

/// Returns the statements that make the index on each of these tables of messages that has none. The
/// first lifts the limit on the time of a statement.
///
/// # Errors
/// When the database cannot be read.
pub async fn statements(
    db: &mut PostgresConnection,
    tables: &[&Table],
) -> Result<Vec<String>, StoreError> {
    let mut statements = Vec::new();
    for table in tables {
        let (index, on) = (quoted(&name(table)), quoted(table.name.as_str()));
        match is_valid(db, &index).await? {
            Some(true) => continue,
            // Its making was broken off.
            Some(false) => statements.push(format!("DROP INDEX CONCURRENTLY {index}")),
            None => {}
        }
        let content = indexed(&quoted(table.name_of("content")));
        statements.push(format!(
            "CREATE INDEX CONCURRENTLY {index} ON {on} USING gin ({content} gin_trgm_ops)"
        ));
        // The planner knows of what is indexed from here on.
        statements.push(format!("ANALYZE {on}"));
    }
    if !statements.is_empty() {
        let begin = ["SET statement_timeout = 0", EXTENSION].map(str::to_owned);
        statements.splice(..0, begin);
    }
    Ok(statements)
}

async fn is_valid(db: &mut PostgresConnection, index: &str) -> Result<Option<bool>, StoreError> {
    let sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";
    let rows = db.query(sql, &[&index]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

impl PostgresStore {
    /// Returns the messages that the index offers, as `Overview::holding` says.
    pub(super) async fn indexed_messages(
        &self,
        conversations: &[ConversationId],
        runs: &[String],
        (at, id): (Timestamp, MessageId),
    ) -> Result<Option<Page>, StoreError> {
        let mut runs: Vec<&String> = runs.iter().collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
        runs.truncate(RUNS_MAX);
        if !self.can_tell(&runs).await? {
            return Ok(None);
        }
        let patterns: Vec<String> = runs.iter().map(|run| format!("%{run}%")).collect();
        let content = indexed("content");
        let holds = (5..).zip(&patterns);
        let holds: Vec<String> = holds
            .map(|(place, _)| format!("AND {content} LIKE ${place} "))
            .collect();
        let holds = holds.concat();
        let sql = format!(
            "SELECT {MESSAGE_LIST} FROM {} AS m WHERE conversation_id = ANY ($1) \
             AND NOT is_deleted AND created_at <= $2 AND (created_at < $2 OR id < $3) {holds}\
             ORDER BY created_at DESC, id DESC LIMIT $4",
            self.layout.messages
        );
        let (at, limit) = (Time(at), signed(PAGE_MESSAGES));
        let mut params: Vec<&dyn Param> = vec![&conversations, &at, &id, &limit];
        params.extend(patterns.iter().map(|it| it as &dyn Param));
        match self.readers.some_rows(&sql, &params, PAGE_BYTES).await {
            Ok((mut rows, is_cut)) => {
                rows.reverse();
                let is_full = is_cut || rows.len() == PAGE_MESSAGES;
                Ok(Some(page(&rows, is_full)))
            }
            // Too slow for this text, or just gone: messages can still be read one by one.
            Err(error) => {
                tracing::warn!(%error, "the index for searches did not answer");
                Ok(None)
            }
        }
    }

    /// Returns whether there is an index that can tell messages with these runs from others. In a
    /// database whose `LC_CTYPE` is `C` only those of ASCII are letters to it.
    async fn can_tell(&self, runs: &[&String]) -> Result<bool, StoreError> {
        let long = runs.iter().filter(|run| run.chars().count() >= TRIGRAM);
        let long: Vec<_> = long.collect();
        if long.is_empty() {
            return Ok(false);
        }
        let index = quoted(&name(&self.layout.schema.messages));
        let sql = "SELECT datctype IN ('C', 'POSIX') FROM pg_index, pg_database \
                   WHERE indexrelid = to_regclass($1) AND indisvalid \
                   AND datname = current_database()";
        let params: Params<'_> = &[&index];
        let rows = self.readers.query(sql, params).await?;
        let Some(row) = rows.first() else {
            return Ok(false);
        };
        let knows_ascii_only: bool = row.try_get(0)?;
        Ok(!knows_ascii_only || long.iter().any(|run| run.is_ascii()))
    }
}
