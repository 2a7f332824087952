//! A clock that jumps for the workers alone: a library that stands before the C library's and adds what a file says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use redline_tests::Installation;

const SOURCE: &str = include_str!("clock.c");

/// What the workers' clocks are ahead, or behind.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    seconds: PathBuf,
}

impl Clock {
    /// Compiles the library into the installation's folder.
    pub(crate) fn beside(redline: &Installation) -> Self {
        let folder = redline.folder();
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, SOURCE).expect("the source can be written");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl"])
            .output()
            .expect("cc runs");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        let clock = Self {
            library,
            seconds: folder.join("clock-seconds"),
        };
        clock.set(0);
        clock
    }

    /// From now on the clocks are so many seconds ahead.
    pub(crate) fn set(&self, seconds: i64) {
        fs::write(&self.seconds, seconds.to_string()).expect("the file can be written");
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("REDLINE_TEST_CLOCK", self.seconds.display().to_string()),
        ]
    }
}
