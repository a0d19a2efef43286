//! Makes the tables, and compares those that are there with what is needed.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::pool::{blocking, connect};
use crate::store::{
    StoreError,
    schema::{self, ColumnDialect, ColumnKind, Finding, LiveColumn, Schema},
};

/// Makes what is missing and returns the statements it ran. Does nothing to a table that is
/// there. Two processes may do this at once: the second waits and finds nothing to do.
///
/// # Errors
/// When the file cannot be written, or tables with names of their own are missing.
pub async fn run(path: &Path, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let (path, schema) = (path.to_owned(), schema.clone());
    blocking(move || {
        let mut db = connect(&path)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let statements = pending(&transaction, &schema)?;
        for statement in &statements {
            transaction.execute_batch(statement)?;
        }
        transaction.commit()?;
        Ok(statements)
    })
    .await
}

/// Returns the statements that [`run`] would run now. A file that does not exist is not made.
///
/// # Errors
/// When the file cannot be read, or tables with names of their own are missing.
pub async fn plan(path: &Path, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let (path, schema) = (path.to_owned(), schema.clone());
    blocking(move || {
        let db = if path.exists() {
            connect(&path)?
        } else {
            Connection::open_in_memory()?
        };
        pending(&db, &schema)
    })
    .await
}

/// Returns whether there is no file yet, or one without any table: another process may have just
/// made it and not yet come to the tables, which appear all at once.
///
/// # Errors
/// When the file cannot be read.
pub async fn is_new(path: &Path) -> Result<bool, StoreError> {
    let path = path.to_owned();
    blocking(move || Ok(!path.exists() || is_empty(&connect(&path)?)?)).await
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })
}

/// Returns the findings that keep the tables of the file from being used; empty if all is well.
/// Those of a file that [is new](is_new) are not made here but at the first start.
///
/// # Errors
/// When the file cannot be read, or made.
pub async fn check(path: &Path, schema: &Schema) -> Result<Vec<Finding>, StoreError> {
    let (path, schema) = (path.to_owned(), schema.clone());
    blocking(move || {
        if !path.exists() {
            pending(&Connection::open_in_memory()?, &schema)?;
            return directory_of(&path).map(|()| Vec::new());
        }
        let db = connect(&path)?;
        if is_empty(&db)? {
            return pending(&db, &schema).map(|_| Vec::new());
        }
        let mut findings = Vec::new();
        for table in schema.tables() {
            let live = columns_of(&db, table.name.as_str())?;
            findings.extend(schema::compare(table, &live, DIALECT));
        }
        if findings.is_empty() {
            for (table, columns) in schema.keys() {
                if !is_unique(&db, table, &columns)? {
                    findings.push(Finding::without_key(table, &columns));
                }
            }
        }
        Ok(findings)
    })
    .await
}

/// Returns the findings of the tables of our own that are there.
///
/// # Errors
/// When the database cannot be read.
pub fn own_findings(db: &Connection, schema: &Schema) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for own in schema.own_tables() {
        if !has_table(db, own.name)? {
            continue;
        }
        for table in schema::made_with(own) {
            let live = columns_of(db, table.name.as_str())?;
            findings.extend(schema::compare_own(&table, &live, DIALECT));
        }
    }
    Ok(findings)
}

/// Returns whether the table has a unique key of exactly these columns that `ON CONFLICT` can go
/// by.
fn is_unique(db: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<bool> {
    let mut statement = db.prepare(
        "SELECT (SELECT group_concat(name, ',') FROM \
         (SELECT name FROM pragma_index_info(i.name) ORDER BY name)) \
         FROM pragma_index_list(?1) AS i WHERE i.\"unique\" AND NOT i.partial",
    )?;
    let wanted = columns.join(",");
    for key in statement.query_map([table], |row| row.get::<_, Option<String>>(0))? {
        if key?.is_some_and(|key| key == wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fails unless a file could be made at `path`.
fn directory_of(path: &Path) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if directory.is_dir() {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "{}: there is no directory {}",
        path.display(),
        directory.display()
    )))
}

fn pending(db: &Connection, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for table in schema.tables() {
        let table = table.name.as_str();
        // Not `table_exists`: it believes what the connection read before it had the lock.
        if columns_of(db, table)?.is_empty() {
            missing.push(table);
        }
    }
    let mut statements = Vec::new();
    if !missing.is_empty() {
        let (making, script) = schema.making(|scripts| scripts.sqlite, &missing)?;
        let all = making.into_iter().chain([script.notes, script.note]);
        statements.extend(all.map(str::to_owned));
    }
    for own in schema.own_tables() {
        if !has_table(db, own.name)? {
            statements.extend(own.statements(|own| own.sqlite));
        }
    }
    Ok(statements)
}

/// Returns whether there is a table of this name.
///
/// # Errors
/// When the file cannot be read.
pub fn has_table(db: &Connection, table: &str) -> rusqlite::Result<bool> {
    Ok(!columns_of(db, table)?.is_empty())
}

fn columns_of(db: &Connection, table: &str) -> rusqlite::Result<Vec<LiveColumn>> {
    let mut statement =
        db.prepare("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1)")?;
    let columns = statement.query_map([table], |row| {
        let not_null: bool = row.get(2)?;
        let default: Option<String> = row.get(3)?;
        let key = row.get::<_, i64>(4)? > 0;
        Ok(LiveColumn {
            name: row.get(0)?,
            spelling: row.get(1)?,
            required: not_null && default.is_none() && !key,
        })
    })?;
    columns.collect()
}

const DIALECT: ColumnDialect = ColumnDialect { spelling, holds };

/// Returns the declared type as Django's `sqlite3` backend writes it.
const fn spelling(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Uuid => "char(32)",
        ColumnKind::Number => "integer or bigint",
        ColumnKind::Text => "varchar or text",
        ColumnKind::Time => "datetime",
        ColumnKind::Bool => "bool",
    }
}

fn holds(declared: &str, kind: ColumnKind) -> bool {
    let declared = declared.to_ascii_lowercase();
    match kind {
        ColumnKind::Uuid => declared == "char(32)",
        ColumnKind::Number => declared == "integer" || declared == "bigint",
        ColumnKind::Text => declared.starts_with("varchar") || declared == "text",
        ColumnKind::Time => declared == "datetime",
        ColumnKind::Bool => declared == "bool",
    }
}
