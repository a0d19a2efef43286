//! Makes the tables, and compares those that are there with what is needed.

use tokio_postgres::{Error, error::SqlState};

use super::{address::Address, connection::PostgresConnection, error::Fault, search};
use crate::store::{
    StoreError,
    groups::schema as groups_schema,
    schema::{self, ColumnDialect, ColumnKind, Finding, LiveColumn, OwnTable, Schema},
};

/// Lock of the process that makes the tables: "chatferr" as a number.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7163375908690358898)";

/// Attempts against a Django that makes the same tables at the same time, without our lock.
const ATTEMPTS: u32 = 3;

/// Makes what is missing and returns the statements it ran. Does nothing to a table that is
/// there. Two processes may do this at once: the second waits and finds nothing to do.
///
/// # Errors
/// When the database cannot be reached or changed, or tables with names of their own are missing.
pub async fn run(address: &Address, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut attempts = 1;
    loop {
        // Whatever fails, the transaction ends with the connection.
        let mut db = PostgresConnection::open(address).await?;
        db.begin().await?;
        db.run(LOCK).await?;
        let statements = pending(&mut db, schema).await?;
        match run_all(&mut db, &statements).await {
            Ok(()) => return Ok(statements),
            Err(error) if is_made_already(&error) && attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn run_all(db: &mut PostgresConnection, statements: &[String]) -> Result<(), Error> {
    for statement in statements {
        db.run(statement).await?;
    }
    db.commit().await
}

fn is_made_already(error: &Error) -> bool {
    let codes = [
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}

/// Returns the statements that [`run`] would run now.
///
/// # Errors
/// When the database cannot be reached, or tables with names of their own are missing.
pub async fn plan(address: &Address, schema: &Schema) -> Result<Vec<String>, StoreError> {
    pending(&mut PostgresConnection::open(address).await?, schema).await
}

/// Makes the index for searches where it is missing, and returns the statements it ran. Each is a
/// transaction by itself, and nothing else that reads or writes the tables waits for them.
///
/// # Errors
/// When the database cannot be reached or changed.
pub async fn run_search(address: &Address, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut db = PostgresConnection::open(address).await?;
    let statements = search_statements(&mut db, schema).await?;
    for statement in &statements {
        db.run(statement).await?;
    }
    Ok(statements)
}

/// Returns the statements that [`run_search`] would run now.
///
/// # Errors
/// When the database cannot be reached.
pub async fn plan_search(address: &Address, schema: &Schema) -> Result<Vec<String>, StoreError> {
    search_statements(&mut PostgresConnection::open(address).await?, schema).await
}

async fn search_statements(
    db: &mut PostgresConnection,
    schema: &Schema,
) -> Result<Vec<String>, StoreError> {
    let groups = schema.groups.map(|_| groups_schema(schema.changes));
    let groups = groups.iter().map(|it| &it.messages);
    let tables: Vec<_> = [&schema.messages].into_iter().chain(groups).collect();
    search::statements(db, &tables).await
}

/// Returns the findings that keep the tables from being used; empty if all is well.
///
/// # Errors
/// When the database cannot be read.
pub async fn findings(
    db: &mut PostgresConnection,
    schema: &Schema,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for table in schema.tables() {
        let live = live_columns(db, table.name.as_str()).await?;
        findings.extend(schema::compare(table, &live, DIALECT));
    }
    if findings.is_empty() {
        for (table, columns) in schema.keys() {
            if !is_unique(db, table, &columns).await? {
                findings.push(Finding::without_key(table, &columns));
            }
        }
    }
    Ok(findings)
}

/// Returns the findings of the tables of our own that are there.
///
/// # Errors
/// When the database cannot be read.
pub async fn own_findings(
    db: &mut PostgresConnection,
    schema: &Schema,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for own in schema.own_tables() {
        if !has_table(db, own.name).await? {
            continue;
        }
        for table in schema::made_with(own) {
            let live = live_columns(db, table.name.as_str()).await?;
            findings.extend(schema::compare_own(&table, &live, DIALECT));
        }
    }
    Ok(findings)
}

async fn pending(db: &mut PostgresConnection, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for table in schema.tables() {
        let table = table.name.as_str();
        if live_columns(db, table).await?.is_empty() {
            missing.push(table);
        }
    }
    let mut statements = Vec::new();
    if !missing.is_empty() {
        let (making, script) = schema.making(|scripts| scripts.postgres, &missing)?;
        let all = making.into_iter().chain([script.notes, script.note]);
        statements.extend(all.map(str::to_owned));
    }
    for own in schema.own_tables() {
        if !has_table(db, own.name).await? {
            statements.extend(own.statements(|own| own.postgres));
        }
    }
    Ok(statements)
}

/// Returns whether there is this table of our own.
pub async fn has_own(db: &mut PostgresConnection, own: Option<OwnTable>) -> Result<bool, Fault> {
    match own {
        Some(own) => has_table(db, own.name).await,
        None => Ok(false),
    }
}

/// Returns whether there is a table of this name.
///
/// # Errors
/// When the database cannot be read.
pub async fn has_table(db: &mut PostgresConnection, table: &str) -> Result<bool, Fault> {
    Ok(!live_columns(db, table).await?.is_empty())
}

/// Returns the columns of the table of this name that our statements would use; none if there is
/// none.
///
/// # Errors
/// When the database cannot be read.
pub async fn live_columns(
    db: &mut PostgresConnection,
    table: &str,
) -> Result<Vec<LiveColumn>, Fault> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), \
               attnotnull AND NOT atthasdef AND attidentity = '' \
               FROM pg_attribute WHERE attrelid = to_regclass($1) \
               AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = db.query(sql, &[&quoted(table)]).await?;
    rows.iter()
        .map(|row| {
            Ok(LiveColumn {
                name: row.try_get(0)?,
                spelling: row.try_get(1)?,
                required: row.try_get(2)?,
            })
        })
        .collect()
}

/// Returns the table's name in quotation marks.
#[must_use]
pub fn quoted(table: &str) -> String {
    format!("\"{table}\"")
}

/// Returns whether the table has a unique key of exactly these columns (in their alphabetical
/// order) that `ON CONFLICT` can go by.
async fn is_unique(
    db: &mut PostgresConnection,
    table: &str,
    columns: &[&str],
) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM pg_index AS i WHERE i.indrelid = to_regclass($1) \
               AND i.indisunique AND i.indisvalid AND i.indimmediate \
               AND i.indpred IS NULL AND i.indexprs IS NULL \
               AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute AS a \
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) = $2::text[]";
    let rows = db.query(sql, &[&quoted(table), &columns]).await?;
    Ok(!rows.is_empty())
}

const DIALECT: ColumnDialect = ColumnDialect { spelling, holds };

/// Returns the type as Django's `postgresql` backend makes it.
const fn spelling(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Uuid => "uuid",
        ColumnKind::Number => "bigint or integer",
        ColumnKind::Text => "character varying or text",
        ColumnKind::Time => "timestamp with time zone",
        ColumnKind::Bool => "boolean",
    }
}

fn holds(found: &str, kind: ColumnKind) -> bool {
    match kind {
        ColumnKind::Number => found == "bigint" || found == "integer",
        ColumnKind::Text => found == "text" || found.starts_with("character varying"),
        other => found == spelling(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_native_and_a_time_has_its_zone() {
        assert!(holds("uuid", ColumnKind::Uuid) && !holds("character(32)", ColumnKind::Uuid));
        assert!(holds("timestamp with time zone", ColumnKind::Time));
        assert!(!holds("timestamp without time zone", ColumnKind::Time));
    }
}
