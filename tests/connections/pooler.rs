//! PgBouncer in transaction mode before Postgres: refused, with what to do.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redline_tests::{Installation, Plan, Process, until};

/// A PgBouncer, which dies with this value.
struct Pooler {
    child: Child,
    url: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    /// Starts one in transaction mode before the installation's Postgres. `ignored`: what clients say at their beginning
    /// and it does not know, and lets pass nevertheless.
    async fn before(redline: &Installation, ignored: &str) -> Self {
        let (_, server) = redline
            .services
            .database
            .split_once('@')
            .expect("a user at a server");
        let (host, rest) = server.split_once(':').expect("a host and a port");
        let (port, _) = rest.split_once('/').expect("a port and a database");
        let own_port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let folder = std::env::temp_dir().join(format!("redline-pooler-{own_port}"));
        fs::create_dir(&folder).expect("a folder can be made");
        let (users, settings) = (folder.join("users"), folder.join("pgbouncer.ini"));
        fs::write(&users, "\"postgres\" \"\"\n").expect("users can be written");
        let text = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {own_port}\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             unix_socket_dir =\nignore_startup_parameters = {ignored}\n",
            users.display()
        );
        fs::write(&settings, text).expect("settings can be written");
        let mut command = Command::new("pgbouncer");
        // Debian puts it where only root looks, and it refuses to run as root.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-q");
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "postgres"]);
        }
        let child = command
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer starts");
        until("pgbouncer listens", Duration::from_secs(30), async || {
            std::net::TcpStream::connect(("127.0.0.1", own_port))
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
        .await;
        let _ = fs::remove_dir_all(&folder);
        let url = format!("postgres://postgres@127.0.0.1:{own_port}/{}", redline.name);
        Self { child, url }
    }
}

/// What a role says that cannot begin, and that it ends.
async fn end_of(mut process: Process) -> String {
    let line = process.wait_for_log("redline: ", Duration::from_secs(60)).await;
    assert_eq!(process.exit(Duration::from_secs(30)).await, 1, "{line}");
    line
}

#[tokio::test]
async fn a_pooler_that_shares_connections_out_is_refused_with_what_to_do() {
    let redline = Plan::new("pooler").make().await;
    for (ignored, told) in [
        ("extra_float_digits", "database.url must name Postgres itself"),
        (
            "extra_float_digits,options",
            "Postgres does not keep the settings of a session",
        ),
    ] {
        let pooler = Pooler::before(&redline, ignored).await;
        for role in ["work", "relay"] {
            let said = end_of(redline.start(role, &[("DATABASE_URL", &pooler.url)])).await;
            assert!(
                said.contains(told),
                "{role} behind one that ignores {ignored}: {said}"
            );
        }
    }
    redline.remove().await;
}
