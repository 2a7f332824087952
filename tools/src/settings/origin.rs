//! Where the settings come from: which file, and which variables win over it. Never what they say.

use std::path::{Path, PathBuf};

use figment::value::UncasedStr;
use figment::{Metadata, Source};

use super::{DEFAULT_FILE, WELL_KNOWN, connections, is_setting};

/// Sections, as variables name them: other variables with our prefix are none of ours.
pub(super) const SECTIONS: [&str; 14] = [
    "KAFKA",
    "REGISTRY",
    "DATABASE",
    "REDIS",
    "TOPICS",
    "MIGRATE",
    "INGEST",
    "CONSOLE",
    "WORK",
    "RELAY",
    "RETENTION",
    "COLLECT",
    "LOG",
    "TRACES",
];

/// Where the settings come from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The file; none where the defaults hold.
    pub(crate) file: Option<PathBuf>,
    /// The variables that win over it, each with the key that it sets.
    pub(crate) variables: Vec<(String, String)>,
    /// Variables with our prefix that set nothing, as when one of two underscores is missing.
    pub(crate) unused: Vec<String>,
}

impl Origin {
    /// Finds it. `file` is what the command line says.
    pub(crate) fn find(file: Option<&Path>) -> Self {
        let names = std::env::vars_os().filter_map(|(name, value)| {
            let is_set = !value.is_empty();
            is_set.then(|| name.into_string().ok()).flatten()
        });
        Self {
            file: chosen_file(file),
            ..Self::of_variables(names)
        }
    }

    fn of_variables(names: impl Iterator<Item = String>) -> Self {
        let mut origin = Self::default();
        for name in names {
            if let Some((_, key)) = WELL_KNOWN.iter().find(|(variable, _)| *variable == name) {
                origin.variables.push((name, (*key).to_owned()));
            } else if let Some(rest) = name.strip_prefix("REDLINE_") {
                if is_setting(UncasedStr::new(rest)) || connections::is_read_as_text(rest) {
                    let key = rest.to_lowercase().replace("__", ".");
                    origin.variables.push((name, key));
                } else if SECTIONS.iter().any(|section| is_of(rest, section)) {
                    origin.unused.push(name);
                }
            }
        }
        origin.variables.sort();
        origin.unused.sort();
        origin
    }
}

/// Where a value comes from, for whoever has to mend it.
pub(super) fn told(from: &Metadata, key: &str) -> String {
    if let Some(Source::File(path)) = &from.source {
        return format!("in {}", path.display());
    }
    if from.name.contains("TOML") {
        return "in the settings file".to_owned();
    }
    let known = WELL_KNOWN.iter().find(|(_, known)| *known == key);
    match known {
        Some((variable, _)) if std::env::var_os(variable).is_some() => format!("by {variable}"),
        _ => format!("by REDLINE_{}", key.to_uppercase().replace('.', "__")),
    }
}

/// Whether a name is a section's, with one underscore behind it.
fn is_of(name: &str, section: &str) -> bool {
    name.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('_'))
}

/// The settings file: what the command line says, else REDLINE_CONFIG, else the usual place if it is there.
pub(super) fn chosen_file(file: Option<&Path>) -> Option<PathBuf> {
    file.map(Path::to_path_buf)
        .or_else(|| {
            let named = std::env::var_os("REDLINE_CONFIG").filter(|path| !path.is_empty());
            named.map(PathBuf::from)
        })
        .or_else(|| {
            let usual = Path::new(DEFAULT_FILE);
            usual.is_file().then(|| usual.to_path_buf())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_value_comes_from_is_told_by_its_file_or_its_variable() {
        let file = Metadata::from("TOML file", Path::new("configs/redline.toml"));
        assert_eq!(told(&file, "work.group"), "in configs/redline.toml");
        let variable = Metadata::named("`REDLINE_` environment variable(s)");
        assert_eq!(
            told(&variable, "work.batch_records"),
            "by REDLINE_WORK__BATCH_RECORDS"
        );
        let text = Metadata::named("alloc::string::String");
        assert_eq!(told(&text, "kafka.password"), "by REDLINE_KAFKA__PASSWORD");
    }

    #[test]
    fn variables_are_named_with_the_key_that_they_set() {
        let names = [
            "REDLINE_INGEST__LISTEN",
            "DATABASE_URL",
            "PATH",
            "REDLINE_CONFIG",
            "REDLINE_INGEST_LISTEN",
            "REDLINE_CACHE",
            "REDLINE_KAFKA__PASSWORD",
            "REDLINE_KAFKA__CLIENT__SOCKET_TIMEOUT_MS",
        ];
        let origin = Origin::of_variables(names.iter().map(|name| (*name).to_owned()));
        let pair = |variable: &str, key: &str| (variable.to_owned(), key.to_owned());
        assert_eq!(
            origin.variables,
            [
                pair("DATABASE_URL", "database.url"),
                pair("REDLINE_INGEST__LISTEN", "ingest.listen"),
                pair(
                    "REDLINE_KAFKA__CLIENT__SOCKET_TIMEOUT_MS",
                    "kafka.client.socket_timeout_ms"
                ),
                pair("REDLINE_KAFKA__PASSWORD", "kafka.password"),
            ]
        );
        assert_eq!(origin.unused, ["REDLINE_INGEST_LISTEN"]);
    }
}
