//! `chatferry migrate`.

use std::process::ExitCode;

use super::advice;
use crate::config::Config;
use crate::dialect::django::tables::schema;
use crate::store::{self, StoreError};

/// Makes the tables that are missing, or prints the SQL that would.
pub(super) async fn migrate(config: &Config, dry_run: bool) -> ExitCode {
    match statements(config, dry_run).await {
        Ok(statements) if dry_run => {
            let sql: Vec<String> = statements.iter().map(|sql| sql_line(sql)).collect();
            super::print(&sql.concat())
        }
        Ok(statements) if statements.is_empty() => super::print("Nothing to do.\n"),
        Ok(statements) => super::print(&format!("Ran {} statements.\n", statements.len())),
        Err(error) => super::failed(&advice::store(&error, config)),
    }
}

async fn statements(config: &Config, dry_run: bool) -> Result<Vec<String>, StoreError> {
    let schema = schema(&config.store.tables);
    if dry_run {
        store::pending(config, &schema).await
    } else {
        store::migrate(config, &schema).await
    }
}

fn sql_line(sql: &str) -> String {
    format!("{};\n", sql.trim_end_matches(';'))
}
