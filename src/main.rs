//! The `chatferry` binary: the only place that reads the process' arguments and environment.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(chatferry::cli::run(
        std::env::args_os(),
        std::env::vars_os(),
    ))
    .await
}
