//! A Postgres for machines that have none: a package of the npm registry with the server's own binaries, pinned by its
//! hash, fetched once into the demo's folder.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::binaries::{Binaries, look};

const VERSION: &str = "18.4.0-beta.17";
/// Architecture, as Rust and as npm name it, and the SHA-512 of the package.
const PACKAGES: [(&str, &str, &str); 2] = [
    (
        "x86_64",
        "linux-x64",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
    (
        "aarch64",
        "linux-arm64",
        "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    ),
];
/// Larger than either package.
const MOST_BYTES: u64 = 64 << 20;
/// A slow line may take so long.
const PATIENCE: Duration = Duration::from_secs(300);
/// What to do when it cannot be had.
const INSTEAD: &str =
    "install Postgres 15 or newer (on Debian: apt-get install postgresql), or name one by DATABASE_URL";

/// The package's binaries, fetched where they are not there yet.
pub(super) async fn fetched(home: &Path, say: &impl Fn(&str)) -> anyhow::Result<Binaries> {
    let folder = home.join(format!("postgres-{VERSION}"));
    if !folder.exists() {
        say("fetching a Postgres (24 MB)");
        let package = fetch()
            .await
            .with_context(|| format!("no Postgres could be fetched; {INSTEAD}"))?;
        // Under another name until it is whole.
        let unpacking = home.join("postgres-unpacking");
        let _ = fs::remove_dir_all(&unpacking);
        unpack(&package, &unpacking)?;
        fs::rename(&unpacking, &folder)?;
    }
    look(folder.join("package/native/bin"), "fetched for the demo").with_context(|| {
        format!(
            "the fetched Postgres in {} does not run on this machine; {INSTEAD}",
            folder.display()
        )
    })
}

async fn fetch() -> anyhow::Result<Vec<u8>> {
    let architecture = std::env::consts::ARCH;
    let (_, name, hash) = PACKAGES
        .iter()
        .find(|(known, ..)| *known == architecture && cfg!(target_os = "linux"))
        .with_context(|| format!("there is no package for {architecture}"))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("https://registry.npmjs.org/@embedded-postgres/{name}/-/{name}-{VERSION}.tgz");
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let mut answer = client.get(&url).send().await?.error_for_status()?;
    let mut package = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        package.extend_from_slice(&chunk);
        ensure!(
            package.len() as u64 <= MOST_BYTES,
            "{url} is larger than it should be"
        );
    }
    let found = STANDARD.encode(Sha512::digest(&package));
    if found != *hash {
        bail!("{url} is not what it was: its SHA-512 is {found}, not {hash}");
    }
    Ok(package)
}

/// A link that npm packages cannot hold.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

fn unpack(package: &[u8], folder: &Path) -> anyhow::Result<()> {
    tar::Archive::new(flate2::read::GzDecoder::new(package).take(8 * MOST_BYTES)).unpack(folder)?;
    let root = folder.join("package");
    let links: Vec<Link> = serde_json::from_slice(&fs::read(root.join("native/pg-symlinks.json"))?)?;
    for Link { source, target } in links {
        let name = source.file_name().context("a link without a name")?;
        symlink(name, root.join(target))?;
    }
    Ok(())
}
