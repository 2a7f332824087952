//! What the harness does to a service that it started: `python3 tests/services restart postgres` and the like.

use std::io::Write as _;
use std::process::Stdio;

use crate::services::Services;

/// Runs a command of the harness, such as `restart postgres`.
///
/// # Panics
/// When it fails.
pub async fn harness(arguments: &[&str]) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/services");
    let output = tokio::process::Command::new("python3")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("python3 starts");
    assert!(
        output.status.success(),
        "`{}` of the harness fails: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether the harness started a service itself. One that the caller named is somebody's own: it is not restarted,
/// and the test says that it was left out.
pub fn is_ours(service: &str) -> bool {
    let ours = Services::folder().join(format!("{service}.json")).is_file();
    if !ours {
        let _ = writeln!(
            std::io::stderr(),
            "left out: {service} was named by the environment, and is not restarted"
        );
    }
    ours
}
