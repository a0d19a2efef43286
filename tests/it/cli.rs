//! The commands as an operator runs them, and what they print when something is wrong.

mod check;
mod commands;
pub mod errors;
