//! A disk of its own for an installation's database, so small that it can be filled.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use redline_tests::Installation;
use sqlx::{Connection as _, PgConnection};

/// Room for an installation's tables and what one run adds.
const SIZE: &str = "size=128m,mode=0777";

/// A tablespace in memory that has an end.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    tablespace: String,
    server: String,
}

/// Whether this user may mount one.
pub(crate) fn can_mount() -> bool {
    rustix::process::geteuid().is_root()
}

impl Disk {
    /// Moves the installation's database to a disk of its own; nobody may be connected to it yet.
    pub(crate) async fn under(redline: &Installation) -> Self {
        let tablespace = redline.name.replace('-', "_");
        let folder = PathBuf::from(format!("/var/tmp/redline-disk-{}", redline.name));
        fs::create_dir(&folder).expect("a folder can be made");
        mount(&["-t", "tmpfs", "-o", SIZE, "tmpfs"], &folder, "mount");
        let inner = folder.join("tablespace");
        fs::create_dir(&inner).expect("a folder can be made");
        let server = redline.services.database.clone();
        let owner = Command::new("chown").arg("postgres").arg(&inner).status();
        assert!(
            owner.is_ok_and(|status| status.success()),
            "the folder becomes Postgres's"
        );
        let disk = Self {
            folder,
            tablespace,
            server,
        };
        disk.execute(&[
            format!(
                "create tablespace \"{}\" location '{}'",
                disk.tablespace,
                inner.display()
            ),
            format!(
                "alter database \"{}\" set tablespace \"{}\"",
                redline.name, disk.tablespace
            ),
        ])
        .await;
        disk
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.folder.join("full")).expect("a file can be made");
        let part = vec![0_u8; 4_096];
        while file.write_all(&part).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.folder.join("full")).expect("the file is there");
    }

    /// Removes it; the database must be gone.
    pub(crate) async fn remove(self) {
        self.execute(&[format!("drop tablespace if exists \"{}\"", self.tablespace)])
            .await;
        mount(&[], &self.folder, "umount");
        let _ = fs::remove_dir(&self.folder);
    }

    async fn execute(&self, statements: &[String]) {
        let mut connection = PgConnection::connect(&self.server)
            .await
            .expect("Postgres answers");
        for statement in statements {
            sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}

fn mount(options: &[&str], folder: &std::path::Path, command: &str) {
    let done = Command::new(command).args(options).arg(folder).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "{command} {}",
        folder.display()
    );
}
