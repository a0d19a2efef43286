//! Makes the tables, and compares those that are there with what is needed.

use mysql_async::{Conn, Row, prelude::Queryable};

use super::{options::Options, pool::connect, row::Columns};
use crate::{
    config,
    store::{
        StoreError,
        schema::{self, ColumnDialect, ColumnKind, Finding, LiveColumn, OwnTable, Schema, Table},
    },
};

/// One process at a time in each database; the other waits this many seconds.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('chatferry.', LEFT(SHA2(CONCAT(DATABASE(), ' migrate'), 256), 40)), 60)";

/// Makes what is missing and returns the statements it ran. Does nothing to a table that is
/// there. Two processes may do this at once: the second waits and finds nothing to do.
///
/// # Errors
/// When the database cannot be reached or changed, or tables with names of their own are missing.
pub async fn run(settings: &config::Store, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut conn = open(settings).await?;
    let locked: Option<Option<u8>> = conn.query_first(LOCK).await?;
    if locked.flatten() != Some(1) {
        let why = "another process has been migrating for a minute";
        return Err(StoreError::Unavailable(why.into()));
    }
    let pending = pending(&mut conn, schema).await?;
    if let [notes, note] = pending.notes.as_slice() {
        // A server that would not take the note shall not be left with tables that lack it.
        conn.query_drop(notes).await?;
        conn.query_drop("START TRANSACTION").await?;
        conn.query_drop(note).await?;
        conn.query_drop("ROLLBACK").await?;
    }
    let statements = pending.all();
    for statement in &statements {
        conn.query_drop(statement).await?;
    }
    // The lock goes with the connection.
    conn.disconnect().await?;
    Ok(statements)
}

/// Statements that are to be run, in this order.
#[derive(Default)]
struct Pending {
    tables: Vec<String>,
    /// Make the table of Django's notes, and the note; none if Django's tables are there.
    notes: Vec<String>,
}

impl Pending {
    fn all(self) -> Vec<String> {
        [self.tables, self.notes].concat()
    }
}

/// Returns the statements that [`run`] would run now.
///
/// # Errors
/// When the database cannot be read, or tables with names of their own are missing.
pub async fn plan(settings: &config::Store, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut conn = open(settings).await?;
    Ok(pending(&mut conn, schema).await?.all())
}

/// Opens a connection to the database of `store.url`.
///
/// # Errors
/// When the server cannot be reached or does not let us in.
pub async fn open(settings: &config::Store) -> Result<Conn, StoreError> {
    Ok(connect(&Options::from_url(settings.url.expose())?).await?)
}

/// Returns the findings that keep the tables from being used; empty if all is well.
///
/// # Errors
/// When the database cannot be read.
pub async fn findings(conn: &mut Conn, schema: &Schema) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for table in schema.tables() {
        let live = columns_of(conn, table.name.as_str()).await?;
        findings.extend(schema::compare(table, &live, DIALECT));
    }
    if findings.is_empty() {
        for (table, columns) in schema.keys() {
            if !is_unique(conn, table, &columns).await? {
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
pub async fn own_findings(conn: &mut Conn, schema: &Schema) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for own in schema.own_tables() {
        if columns_of(conn, own.name).await?.is_empty() {
            continue;
        }
        for table in schema::made_with(own) {
            let live = columns_of(conn, table.name.as_str()).await?;
            findings.extend(schema::compare_own(&table, &live, DIALECT));
        }
    }
    Ok(findings)
}

/// Returns whether the table has a unique key of exactly these columns, each in its whole length.
async fn is_unique(conn: &mut Conn, table: &str, columns: &[&str]) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT GROUP_CONCAT(column_name ORDER BY column_name) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = '{table}' AND non_unique = 0 \
         GROUP BY index_name HAVING MAX(sub_part) IS NULL"
    );
    let keys: Vec<Option<String>> = conn.query(sql).await?;
    let wanted = columns.join(",");
    Ok(keys.iter().flatten().any(|key| *key == wanted))
}

/// Returns whether messages and receipts refer to their parents by foreign keys, as Django makes
/// them by default.
///
/// # Errors
/// When the database cannot be read.
pub async fn has_foreign_keys(conn: &mut Conn, schema: &Schema) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT COUNT(DISTINCT table_name) FROM information_schema.key_column_usage \
         WHERE table_schema = DATABASE() AND ({} OR {})",
        refers(&schema.messages, "conversation_id", &schema.conversations),
        refers(&schema.receipts, "message_id", &schema.messages)
    );
    let count: Option<u8> = conn.query_first(sql).await?;
    Ok(count == Some(2))
}

/// Returns the condition that a foreign key leads from a table to its parent's.
fn refers(table: &Table, role: &'static str, parent: &Table) -> String {
    format!(
        "(table_name = '{}' AND column_name = '{}' AND referenced_table_name = '{}' \
         AND referenced_column_name = '{}')",
        table.name,
        table.name_of(role),
        parent.name,
        parent.name_of("id")
    )
}

async fn pending(conn: &mut Conn, schema: &Schema) -> Result<Pending, StoreError> {
    let mut missing = Vec::new();
    for table in schema.tables() {
        let table = table.name.as_str();
        if columns_of(conn, table).await?.is_empty() {
            missing.push(table);
        }
    }
    let mut pending = Pending::default();
    if !missing.is_empty() {
        let (making, script) = schema.making(|scripts| scripts.mysql, &missing)?;
        let making = making.into_iter().map(|line| line.trim_end_matches(';'));
        pending.tables = making.map(str::to_owned).collect();
        pending.notes = [script.notes, script.note].map(str::to_owned).to_vec();
    }
    for own in schema.own_tables() {
        if !has_table(conn, own.name).await? {
            pending.tables.extend(own.statements(|own| own.mysql));
        }
    }
    if !pending.tables.is_empty() {
        let uuid = uuid_type(conn, schema).await?;
        for statement in &mut pending.tables {
            *statement = statement.replace("char(32)", uuid);
        }
    }
    Ok(pending)
}

/// Returns whether there is this table of our own.
pub async fn has_own(conn: &mut Conn, own: Option<OwnTable>) -> Result<bool, StoreError> {
    match own {
        Some(own) => has_table(conn, own.name).await,
        None => Ok(false),
    }
}

/// Returns whether there is a table of this name.
///
/// # Errors
/// When the database cannot be read.
pub async fn has_table(conn: &mut Conn, table: &str) -> Result<bool, StoreError> {
    Ok(!columns_of(conn, table).await?.is_empty())
}

/// Returns the type of ids in tables still to be made: that of the tables that are there, else what
/// Django would choose, which is MariaDB's native type from 10.7 on.
async fn uuid_type(conn: &mut Conn, schema: &Schema) -> Result<&'static str, StoreError> {
    for table in schema.tables() {
        let columns = columns_of(conn, table.name.as_str()).await?;
        if let Some(id) = columns.iter().find(|column| column.name == "id") {
            return Ok(if id.spelling == "uuid" {
                "uuid"
            } else {
                "char(32)"
            });
        }
    }
    let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
    Ok(native_uuid(&version.unwrap_or_default()))
}

fn native_uuid(version: &str) -> &'static str {
    let mut numbers = version.split(['.', '-']).map_while(|n| n.parse().ok());
    let version_number: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    if version.contains("MariaDB") && version_number >= (10, 7) {
        "uuid"
    } else {
        "char(32)"
    }
}

/// Returns the columns of a table; none if there is no such table.
///
/// # Errors
/// When the database cannot be read.
pub async fn columns_of(conn: &mut Conn, table: &str) -> Result<Vec<LiveColumn>, StoreError> {
    let sql = format!(
        "SELECT column_name, column_type, is_nullable = 'NO' AND column_default IS NULL \
         AND extra NOT LIKE '%auto_increment%' AND extra NOT LIKE '%GENERATED%' \
         FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
    );
    let rows: Vec<Row> = conn.query(sql).await?;
    let columns = rows.into_iter().map(|row| {
        let mut columns = Columns::from(row);
        Ok(LiveColumn {
            name: columns.take()?,
            spelling: columns.take()?,
            required: columns.take()?,
        })
    });
    columns.collect()
}

const DIALECT: ColumnDialect = ColumnDialect { spelling, holds };

/// Returns the type as Django's `mysql` backend writes it.
const fn spelling(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Uuid => "char(32) or uuid",
        ColumnKind::Number => "int or bigint",
        ColumnKind::Text => "varchar or longtext",
        ColumnKind::Time => "datetime(6)",
        ColumnKind::Bool => "tinyint(1)",
    }
}

fn holds(found: &str, kind: ColumnKind) -> bool {
    match kind {
        ColumnKind::Uuid => found == "char(32)" || found == "uuid",
        ColumnKind::Number => found.starts_with("int") || found.starts_with("bigint"),
        ColumnKind::Text => found.starts_with("varchar(") || found.ends_with("text"),
        ColumnKind::Time => found == "datetime(6)",
        ColumnKind::Bool => found == "tinyint(1)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_native_where_django_makes_them_so() {
        assert_eq!(native_uuid("10.11.19-MariaDB-0+deb12u1"), "uuid");
        assert_eq!(native_uuid("11.4.2-MariaDB"), "uuid");
        assert_eq!(native_uuid("10.6.18-MariaDB-log"), "char(32)");
        assert_eq!(native_uuid("9.7.4-2"), "char(32)");
    }

    #[test]
    fn times_without_microseconds_are_another_type() {
        assert!(holds("datetime(6)", ColumnKind::Time));
        assert!(!holds("datetime", ColumnKind::Time));
        assert!(!holds("char(36)", ColumnKind::Uuid));
    }
}
