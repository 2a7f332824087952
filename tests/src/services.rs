//! Where the real services are, as `python3 tests/services run -- COMMAND` tells its command.

use std::env;
use std::path::PathBuf;

/// The services, the binary under test and the foreign client.
#[derive(Clone, Debug)]
pub struct Services {
    /// `KAFKA_BOOTSTRAP_SERVERS`
    pub kafka: String,
    /// `SCHEMA_REGISTRY_URL`
    pub registry: String,
    /// `DATABASE_URL`: a database in which others can be made.
    pub database: String,
    /// `REDIS_URL`
    pub redis: String,
    /// The binary under test: `REDLINE_BIN`, else the one that cargo built beside the test.
    pub binary: PathBuf,
}

impl Services {
    /// Reads the environment.
    ///
    /// # Panics
    /// When a variable or the binary is missing, with what to do.
    pub fn from_environment() -> Self {
        Self {
            kafka: variable("KAFKA_BOOTSTRAP_SERVERS"),
            registry: variable("SCHEMA_REGISTRY_URL"),
            database: variable("DATABASE_URL"),
            redis: variable("REDIS_URL"),
            binary: binary(),
        }
    }

    /// `REDLINE_TEST_PYTHON`: a Python with Confluent's own client.
    ///
    /// # Panics
    /// When the variable is missing.
    pub fn python() -> PathBuf {
        PathBuf::from(variable("REDLINE_TEST_PYTHON"))
    }

    /// `REDLINE_TEST_JAVA` and `REDLINE_TEST_JAVA_PRODUCER`: a Java, and the guide's example as a .jar.
    ///
    /// # Panics
    /// When a variable is missing.
    pub fn java_producer() -> (PathBuf, PathBuf) {
        let path = |name| PathBuf::from(variable(name));
        (path("REDLINE_TEST_JAVA"), path("REDLINE_TEST_JAVA_PRODUCER"))
    }

    /// `REDLINE_TEST_SERVICES`: the folder with a description of each service that the harness started.
    ///
    /// # Panics
    /// When the variable is missing.
    pub fn folder() -> PathBuf {
        PathBuf::from(variable("REDLINE_TEST_SERVICES"))
    }
}

fn variable(name: &str) -> String {
    match env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: this test needs real services; run `make test`, which starts them"),
    }
}

pub(crate) fn binary() -> PathBuf {
    let path = match env::var_os("REDLINE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let own = env::current_exe().expect("a test knows its own path");
            let mut folder = own.parent().expect("it lies in a folder");
            // A test is target/<profile>/deps/name-hash, a program lies beside the binary.
            if folder.ends_with("deps") {
                folder = folder
                    .parent()
                    .expect("cargo puts tests into target/<profile>/deps");
            }
            folder.join("redline")
        }
    };
    assert!(
        path.is_file(),
        "the binary under test, {}, does not exist: run `cargo build -p redline`, or `make test`",
        path.display()
    );
    path
}
