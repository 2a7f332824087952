//! The settings file of one installation.

use std::fs;
use std::path::{Path, PathBuf};

use redline_schemas::topics::Topics;

use crate::services::Services;

/// Texts of the rules and of the mapping of files, so that a test shows what it depends on.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) rules: String,
    pub(crate) more: String,
}

/// The example rules of the documentation.
pub(crate) fn example_rules() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/rules.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Topics that no other installation has.
pub(crate) fn topics(name: &str) -> Topics {
    Topics {
        rows: format!("{name}.rows"),
        payouts: format!("{name}.payouts"),
        orders: format!("{name}.orders"),
        facts: format!("{name}.facts"),
        flagged: format!("{name}.flagged"),
        quarantine: format!("{name}.quarantine"),
    }
}

/// Writes rules and settings into the folder; answers the settings' path.
pub(crate) fn write(
    folder: &Path,
    name: &str,
    partitions: i32,
    services: &Services,
    database: &str,
    texts: &Texts,
) -> PathBuf {
    let rules = folder.join("rules.toml");
    fs::write(&rules, &texts.rules).expect("the rules can be written");
    let Topics {
        rows,
        payouts,
        orders,
        facts,
        flagged,
        quarantine,
    } = topics(name);
    let text = format!(
        r#"[kafka]
bootstrap_servers = "{kafka}"
[registry]
url = "{registry}"
[database]
url = "{database}"
[redis]
url = "{redis}"
[topics]
rows = "{rows}"
payouts = "{payouts}"
orders = "{orders}"
facts = "{facts}"
flagged = "{flagged}"
quarantine = "{quarantine}"
[migrate]
partitions = {partitions}
rules = "{rules_path}"
[ingest]
listen = "127.0.0.1:0"
[work]
group = "{name}"
mark_prefix = "{name}:"
session_timeout_milliseconds = 6000
stopped_recheck_seconds = 1
[log]
format = "json"
{more}"#,
        kafka = services.kafka,
        registry = services.registry,
        redis = services.redis,
        rules_path = rules.display(),
        more = texts.more,
    );
    let path = folder.join("redline.toml");
    fs::write(&path, text).expect("the settings can be written");
    path
}
