//! What runs: its version, and what the system says of its process.

use super::{Error, Meter};

/// What was built.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub revision: &'static str,
    /// The compiler.
    pub rustc: &'static str,
}

impl Meter {
    /// Shows what was built, and the process as the system sees it.
    ///
    /// # Errors
    /// When it is shown already.
    pub fn show_process(&self, build: Build) -> Result<(), Error> {
        self.gauges(
            "redline_build_info",
            "Always 1; the labels say what runs.",
            &["version", "revision", "rustc"],
        )?
        .with_label_values(&[build.version, build.revision, build.rustc])
        .set(1);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            self.shared.registry.register(Box::new(process))?;
        }
        Ok(())
    }
}
