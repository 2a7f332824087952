//! Tells the binary what it was built from: `redline_build_info` shows it.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=REDLINE_REVISION");
    // A build outside of a checkout, such as that of an image, is told the commit.
    let revision = std::env::var("REDLINE_REVISION")
        .ok()
        .filter(|told| !told.is_empty());
    let revision = revision.or_else(|| said("git", &["rev-parse", "--short=12", "HEAD"]));
    if let Some(log) = said("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    for (name, value) in [
        ("REDLINE_REVISION", revision),
        ("REDLINE_RUSTC", said(&compiler, &["--version"])),
    ] {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        println!("cargo::rustc-env={name}={value}");
    }
}

/// The one line that a command writes; none when it fails.
fn said(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
