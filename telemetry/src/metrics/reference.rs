//! The reference page, from what was made.

use std::fmt::Write as _;

use super::Meter;

impl Meter {
    /// A Markdown table of everything that was made, by the roles that made it.
    pub fn reference(&self) -> String {
        let made = self.made();
        let mut roles: Vec<String> = made.values().map(|one| one.roles.join(", ")).collect();
        roles.sort();
        roles.dedup();
        let mut page = String::new();
        for role in roles {
            let _ = write!(
                page,
                "\n## {}\n\n| name | type | unit | labels | what it is |\n|---|---|---|---|---|\n",
                heading(&role)
            );
            for (name, one) in made.iter().filter(|(_, one)| one.roles.join(", ") == role) {
                let labels: Vec<String> = one.labels.iter().map(|label| format!("`{label}`")).collect();
                let (kind, unit, labels) = (one.metric.word(), unit(name), labels.join(", "));
                let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {} |", one.help);
            }
        }
        page
    }

    /// The names of everything that was made, as queries may use them: a histogram has three.
    pub fn names(&self) -> Vec<String> {
        let made = self.made();
        let names = made.iter().flat_map(|(name, one)| match one.metric.word() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{name}{end}"))
                .to_vec(),
            _ => vec![(*name).to_owned()],
        });
        names.collect()
    }
}

fn heading(roles: &str) -> String {
    match roles {
        "every" => "Every role".to_owned(),
        roles => roles.to_owned(),
    }
}

/// The unit that a name ends in.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name {
        name if name.ends_with("_timestamp_seconds") => "seconds since 1970",
        name if name.ends_with("_seconds") => "seconds",
        name if name.ends_with("_bytes") => "bytes",
        _ => "",
    }
}
