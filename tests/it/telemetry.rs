//! Logs, metrics and traces, as those who watch a server get them.

mod logs;
mod metrics;
mod traces;
