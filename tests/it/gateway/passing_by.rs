//! Real servers behind the gateway, and every shape of `compat/gateway/shapes.txt`: none reaches a
//! view or a consumer of Django's chat for a caller whom the policy refuses.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::support::{
    neighbours::{python, skip},
    process::BINARY,
};

/// All of it takes minutes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn no_shape_of_a_request_passes_by_the_policy() {
    let Some(python) = python() else {
        return;
    };
    let is_long = std::env::var_os("CHATFERRY_TEST_LONG").is_some();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/gateway/passing_by.py");
    let mut command = Command::new(python);
    command
        .args([script, "--binary", BINARY, "-v"])
        .args([if is_long { "--all" } else { "--short" }])
        .stdin(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("the trial ends").unwrap();
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (table, error) = (said(&output.stdout), said(&output.stderr));
    if output.status.code() == Some(3) {
        return skip(&error);
    }
    assert!(output.status.success(), "{table}\n{error}");
}
