//! `chatferry migrate`.

use std::process::ExitCode;

use super::advice;
use crate::config::Config;
use crate::dialect::django::tables::schema;
use crate::store::{self, StoreError};

/// Parts that are to be made, and if the SQL is only printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub dry_run: bool,
    pub search: bool,
}

/// Makes what is missing, or prints the SQL that would.
pub(super) async fn migrate(config: &Config, wanted: Wanted) -> ExitCode {
    match statements(config, wanted).await {
        Ok(statements) if wanted.dry_run => {
            let sql: Vec<String> = statements.iter().map(|sql| sql_line(sql)).collect();
            super::print(&sql.concat())
        }
        Ok(statements) if statements.is_empty() => super::print("Nothing to do.\n"),
        Ok(statements) => super::print(&format!("Ran {} statements.\n", statements.len())),
        Err(error) => super::failed(&advice::store(&error, config)),
    }
}

async fn statements(config: &Config, wanted: Wanted) -> Result<Vec<String>, StoreError> {
    let schema = schema(&config.store.tables);
    let Wanted { dry_run, search } = wanted;
    let mut statements = if dry_run {
        store::pending(config, &schema).await?
    } else {
        store::migrate(config, &schema).await?
    };
    if search {
        statements.extend(store::index_for_search(config, &schema, dry_run).await?);
    }
    Ok(statements)
}

fn sql_line(sql: &str) -> String {
    format!("{};\n", sql.trim_end_matches(';'))
}
