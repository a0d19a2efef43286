//! `[store]`: the database and the names of its tables.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::declare::{choice, settings};
use super::secret::{masked, unencoded};

settings! {
    /// The database.
    pub struct Store in "store" {
        /// `sqlite://FILE`, as in `sqlite://chat.sqlite3` (relative to the working directory) or
        /// `sqlite:///var/lib/chat.sqlite3`. The variable `DATABASE_URL` sets it too.
        /// `postgres://user:pw@host:port/db`, with `?host=/run/postgresql` for a socket, and
        /// `sslmode=` `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`
        /// (which trust `sslrootcert=FILE`, or else the system's certificates; naming a file makes
        /// `require` the same as `verify-ca`), `sslcert=FILE` and `sslkey=FILE` to be known by
        /// them. `mysql://user:pw@host:port/db` for MySQL and MariaDB, with `?unix_socket=FILE` for
        /// a socket, and `ssl-mode=` `disabled` (the default), `preferred`, `required`, `verify_ca`
        /// or `verify_identity` (which trust `ssl-ca=FILE`, or else well-known authorities; naming
        /// a file turns `verify_identity` on), `ssl-cert=FILE` and `ssl-key=FILE` to be known by
        /// them, `isolation_level=` (`read committed`) and `init_command=` as in Django's
        /// `OPTIONS`, and `connect_timeout=` (5), `read_timeout=` and `write_timeout=` (10) in
        /// seconds. Special characters of a password are percent-encoded, `#` as `%23`. Other
        /// schemes of Django projects are understood too: `mysql2`, `mysqlgis`, `postgis`, `psql`,
        /// `pgsql`, `timescale`.
        url: StoreUrl = "sqlite://chat.sqlite3",
        /// Database connections. One of them writes; there is always one more that reads.
        pool_size: usize = 10 in 1..=1000,
        /// Seconds that `serve` waits at start for a MySQL, MariaDB or PostgreSQL server that does
        /// not answer yet. Until then `/healthz` is well and `/readyz` is not; past them it exits
        /// with 1. 0 does not wait.
        wait_s: u64 = 30 in 0..=3600,
        /// Version of the UUIDs of new messages, receipts and conversations: `v7` begins with the
        /// time, so that new rows stand together in the index of a large table; `v4` is random, as
        /// Django's own. Both may be in one table.
        ids: IdVersion = "v7",
    }
    with { tables: Tables }
}

settings! {
    /// The names of Django's tables, for an app whose models have another `db_table`.
    /// Letters, digits and `_`, at most 63.
    pub struct Tables in "store.tables" {
        /// Table of the conversations.
        conversations: TableName = "conversations",
        /// Table of the messages.
        messages: TableName = "messages",
        /// Table of the delivery receipts.
        delivery_receipts: TableName = "delivery_receipts",
    }
}

/// The original's names.
impl Default for Tables {
    fn default() -> Self {
        let name = |text: &str| TableName(text.to_owned());
        Self {
            conversations: name("conversations"),
            messages: name("messages"),
            delivery_receipts: name("delivery_receipts"),
        }
    }
}

impl Tables {
    /// Returns whether each table has a name of its own.
    pub(super) fn are_distinct(&self) -> bool {
        let [a, b, c] = [&self.conversations, &self.messages, &self.delivery_receipts]
            .map(|t| t.0.to_lowercase());
        a != b && b != c && a != c
    }
}

choice! {
    /// A version of RFC 9562's UUIDs.
    pub enum IdVersion {
        V7 = "v7",
        V4 = "v4",
    }
}

/// The databases a URL can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Mysql,
    Postgres,
}

impl Database {
    /// Returns its name for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Database::Sqlite => "sqlite",
            Database::Mysql => "mysql",
            Database::Postgres => "postgres",
        }
    }
}

/// A database URL. Its password is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StoreUrl {
    text: String,
    database: Database,
}

impl StoreUrl {
    #[must_use]
    pub fn database(&self) -> Database {
        self.database
    }

    /// Returns the file of a SQLite database, exactly as written after `sqlite://`.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        self.text.strip_prefix("sqlite://").map(Path::new)
    }

    /// Returns the whole URL with its password, for a driver only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let database = match text.split_once("://") {
            Some((_, "")) | None => None,
            Some((scheme, _)) => Database::of(scheme),
        };
        let database = database
            .ok_or("`sqlite://FILE`, `mysql://user:pw@host/db` or `postgres://user:pw@host/db`")?;
        if database == Database::Sqlite {
            return Ok(Self { text, database });
        }
        if let Some(special) = unencoded(&text) {
            return Err(special);
        }
        // The drivers know one scheme each.
        let scheme = match database {
            Database::Mysql => "mysql",
            _ => "postgres",
        };
        let text = match text.split_once("://") {
            Some((_, rest)) => format!("{scheme}://{rest}"),
            None => text,
        };
        Ok(Self { text, database })
    }
}

impl Database {
    /// Returns the database that a scheme stands for, those of `dj-database-url`, `django-environ`
    /// and, with a driver behind `+`, those of `SQLAlchemy` included.
    fn of(scheme: &str) -> Option<Self> {
        let name = scheme.split_once('+').map_or(scheme, |(name, _)| name);
        Some(match name {
            "sqlite" => Database::Sqlite,
            "mysql" | "mariadb" | "mysql2" | "mysqlgis" => Database::Mysql,
            "postgres" | "postgresql" | "postgis" | "psql" | "pgsql" | "timescale"
            | "timescalegis" => Database::Postgres,
            _ => return None,
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.text))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A table's name that needs no quoting in any of the databases, and can hold no SQL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TableName(String);

impl TableName {
    /// `PostgreSQL` cuts longer names; `MySQL` stops at 64.
    const MAX_LEN: usize = 63;

    /// Returns the name of a table of our own.
    #[must_use]
    pub fn ours(name: &'static str) -> Self {
        TableName(name.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TableName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let starts = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if plain && starts && name.len() <= Self::MAX_LEN {
            Ok(Self(name))
        } else {
            Err("1 to 63 ASCII letters, digits or `_`, not starting with a digit")
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<StoreUrl, String> {
        StoreUrl::try_from(text.to_owned())
    }

    #[test]
    fn a_sqlite_file_is_what_follows_the_two_slashes() {
        let file = |text| {
            url(text)
                .ok()
                .and_then(|u| u.sqlite_file().map(Path::to_owned))
        };
        assert_eq!(file("sqlite://chat.sqlite3"), Some("chat.sqlite3".into()));
        assert_eq!(
            file("sqlite:///var/lib/대화.db"),
            Some("/var/lib/대화.db".into())
        );
        assert_eq!(file("mysql://h/db"), None);
    }

    #[test]
    fn a_url_of_no_known_database_is_refused() {
        for text in [
            "",
            "chat.sqlite3",
            "sqlite:chat.sqlite3",
            "sqlite://",
            "oracle://h/db",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn schemes_of_django_projects_are_understood() {
        let exposed = |text| url(text).unwrap().expose().to_owned();
        assert_eq!(exposed("mysql2://u:p@h/db"), "mysql://u:p@h/db");
        assert_eq!(exposed("postgis://u:p@h/db"), "postgres://u:p@h/db");
        assert_eq!(exposed("postgresql://u:p@h/db"), "postgres://u:p@h/db");
    }

    #[test]
    fn a_special_character_in_a_password_is_named_and_the_password_is_not() {
        for (text, encoded) in [
            ("mysql://chat:s3c#ret@h:3306/db", "%23"),
            ("mysql://chat:s3c/ret@h:3306/db", "%2F"),
            ("postgres://chat:123?ret@h/db", "%3F"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains(encoded), "{text}: {error}");
            assert!(!error.contains("s3c") && !error.contains("ret"), "{error}");
        }
        for fine in [
            "mysql://chat:p%23a@h:3306/db?ssl-ca=/etc/a@b.pem",
            "postgres://chat@h/db?host=/run/a@b",
            "mysql://chat:p@ss@h/db",
        ] {
            assert!(url(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = url("mysql://chat:s3cret@db:3306/chat").unwrap();
        assert_eq!(url.to_string(), "mysql://chat:***@db:3306/chat");
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(url.expose(), "mysql://chat:s3cret@db:3306/chat");
    }

    #[test]
    fn a_table_name_cannot_carry_sql() {
        let ok = |name: &str| TableName::try_from(name.to_owned()).is_ok();
        assert!(ok("chat_message") && ok("_t1") && ok(&"t".repeat(63)));
        for name in [
            "",
            "1t",
            "a b",
            "a\"b",
            "a`b",
            "a;drop",
            "대화",
            &"t".repeat(64),
        ] {
            assert!(!ok(name), "{name}");
        }
    }
}
