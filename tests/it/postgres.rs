//! The chat on PostgreSQL: whose tables they are, what its rows are, and what happens when the
//! server goes away. Every test has a database of its own.
//!
//! `CHATFERRY_TEST_POSTGRES` names a server (`postgres://…`, a user that may create databases);
//! without it, and wherever a test stops the server, a private one is started from an installed
//! PostgreSQL. `CHATFERRY_TEST_PYTHON` names a Python that has the reference's packages and
//! psycopg, for the tests that need Django. What is missing is said, and its tests are skipped.

mod cluster;
pub mod database;
mod faults;
mod limits;
mod pooler;
mod races;
mod rows;
mod search;
mod spellings;
mod start;
mod tables;
mod ways;
