//! docs/reference/settings.md, made from configs/redline.toml, which is the one place where settings are described.
//!
//! A line of that file is a key with its default and what it means, or, in a comment, a key without a default and an
//! example of it. Tests hold it against the code: each key that can be set is there, with the value that it has by itself.

use std::fmt::Write as _;
use std::path::Path;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format as _, Toml};

use super::origin::SECTIONS;
use super::{Settings, WELL_KNOWN};

const FILE: &str = include_str!("../../../configs/redline.toml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/settings.md");
/// With this variable the page is written instead of compared: `make docs`.
const WRITE: &str = "REDLINE_WRITE_REFERENCE";

#[derive(Default, Debug)]
struct Section {
    name: String,
    about: String,
    keys: Vec<Key>,
    /// Its lines as they are.
    text: String,
}

#[derive(Debug)]
struct Key {
    name: String,
    value: String,
    /// Whether the value is an example, and there is none by default.
    is_example: bool,
    meaning: String,
}

/// What stands above the first section, and the sections.
fn read(file: &str) -> (String, Vec<Section>) {
    let mut sections: Vec<Section> = Vec::new();
    // Comments belong to what follows them.
    let mut comments = String::new();
    let mut head = None;
    for line in file.lines() {
        let (content, comment) = split_comment(line);
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let above = std::mem::take(&mut comments);
            if head.is_none() {
                head = Some(above);
                comments.clear();
            } else if !above.is_empty() {
                comments = above;
            }
            let about = [std::mem::take(&mut comments).trim(), comment].join(" ");
            sections.push(Section {
                name: name.to_owned(),
                about: about.trim().to_owned(),
                text: format!("{line}\n"),
                ..Section::default()
            });
            continue;
        }
        let commented = content.is_empty() && comment.split_once(" = ").is_some_and(|(name, _)| is_key(name));
        let (pair, meaning, is_example) = match commented {
            true => {
                let (pair, meaning) = split_comment(comment);
                (pair, meaning, true)
            }
            false => (content, comment, false),
        };
        if let Some(section) = sections.last_mut() {
            section.text.push_str(line);
            section.text.push('\n');
        }
        match (pair.split_once(" = "), sections.last_mut()) {
            (Some((name, value)), Some(section)) => section.keys.push(Key {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                is_example,
                meaning: meaning.to_owned(),
            }),
            _ if line.starts_with('#') => {
                comments.push_str(comment);
                comments.push('\n');
            }
            _ => {}
        }
    }
    (head.unwrap_or_default(), sections)
}

/// A line without its comment, and the comment.
fn split_comment(line: &str) -> (&str, &str) {
    let mut in_quotes = false;
    let found = line.char_indices().find(|(_, character)| {
        in_quotes ^= *character == '"';
        *character == '#' && !in_quotes
    });
    match found {
        Some((place, _)) => (line[..place].trim(), line[place + 1..].trim()),
        None => (line.trim(), ""),
    }
}

fn is_key(text: &str) -> bool {
    let text = text.trim().trim_matches('"');
    let is_name = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "_.".contains(character)
    };
    !text.is_empty() && text.chars().all(is_name)
}

fn type_of(value: &str) -> &'static str {
    match value.chars().next() {
        Some('0'..='9') if value.contains('.') => "number",
        Some('"') => "text",
        Some('[') => "list",
        Some('t' | 'f') => "boolean",
        _ => "integer",
    }
}

fn variables(section: &str, key: &str) -> String {
    let path = format!("{section}.{key}");
    let own = format!("`REDLINE_{}`", path.to_uppercase().replace('.', "__"));
    match WELL_KNOWN.iter().find(|(_, known)| *known == path) {
        Some((variable, _)) => format!("`{variable}`, {own}"),
        None => own,
    }
}

/// Whether a section describes files of a source, by an example.
fn is_mapping(section: &Section) -> bool {
    section.name.starts_with("collect.")
}

fn page() -> String {
    let (head, sections) = read(FILE);
    let mut page = String::from(
        "# Settings\n\n<!-- Made from configs/redline.toml by `make docs`; change that file instead. -->\n\n",
    );
    // What stands in angle brackets would be taken for HTML.
    let _ = writeln!(page, "{}", head.trim().replace('<', "\\<"));
    for section in sections.iter().filter(|section| !is_mapping(section)) {
        let _ = write!(page, "\n## [{}]\n\n", section.name);
        if !section.about.is_empty() {
            let _ = writeln!(page, "{}.\n", capital(section.about.trim_end_matches('.')));
        }
        page.push_str("| key | type | default | meaning | variable |\n|---|---|---|---|---|\n");
        for key in &section.keys {
            let value = key.value.replace('|', "\\|");
            let default = match key.is_example {
                true => format!("none; for example `{value}`"),
                false => format!("`{value}`"),
            };
            // Keys in quotes are names of others'.
            let variable = match key.name.starts_with('"') {
                true => String::new(),
                false => variables(&section.name, &key.name),
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {default} | {} | {variable} |",
                key.name.trim_matches('"'),
                type_of(&key.value),
                key.meaning.replace('|', "\\|"),
            );
        }
    }
    let mappings: Vec<&Section> = sections.iter().filter(|section| is_mapping(section)).collect();
    if let Some(first) = mappings.first() {
        let text: String = mappings.iter().map(|section| section.text.as_str()).collect();
        let _ = write!(
            page,
            "\n## [collect.SOURCE]\n\n{}.\n\n```toml\n{}\n```\n",
            first.about.replace('\n', " ").trim_end_matches('.'),
            text.trim()
        );
    }
    page
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

/// The keys that the code knows in a section; none when the section takes any.
fn known(section: &str) -> Option<Vec<String>> {
    const NOBODYS: &str = "nobodys_key";
    let text = format!("[{section}]\n{NOBODYS} = 1\n");
    let refused = Figment::new()
        .merge(Toml::string(&text))
        .extract::<Settings>()
        .err()?;
    refused.into_iter().find_map(|error| match error.kind {
        Kind::UnknownField(name, expected) if name == NOBODYS => {
            Some(expected.iter().map(|key| (*key).to_owned()).collect())
        }
        _ => None,
    })
}

/// All keys that the code knows, of a section and of those in it.
fn all_known(section: &str) -> Vec<(String, String)> {
    let keys = known(section).unwrap_or_default();
    keys.into_iter()
        .flat_map(|key| {
            let inner = format!("{section}.{key}");
            match inner.as_str() {
                // Names of librdkafka's.
                "kafka.client" => Vec::new(),
                _ if known(&inner).is_some() => all_known(&inner),
                _ => vec![(section.to_owned(), key)],
            }
        })
        .collect()
}

#[test]
fn the_page_of_settings_is_that_of_the_documented_file() {
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PAGE, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(Path::new(PAGE)).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/settings.md is not current; run `make docs`"
    );
}

#[test]
fn every_key_of_the_code_is_in_the_documented_file() {
    let (_, sections) = read(FILE);
    let top = Figment::new()
        .merge(Toml::string("nobodys_key = 1"))
        .extract::<Settings>();
    let top = match top.unwrap_err().into_iter().next().map(|error| error.kind) {
        Some(Kind::UnknownField(_, expected)) => expected,
        other => panic!("{other:?}"),
    };
    let sections_of_variables: Vec<String> = SECTIONS.iter().map(|section| section.to_lowercase()).collect();
    assert_eq!(sections_of_variables, top, "the doctor knows every section");
    let mut count = 0;
    for section in top.iter().filter(|section| **section != "collect") {
        for (section, key) in all_known(section) {
            let found = sections.iter().filter(|found| found.name == section);
            let has = found.flat_map(|found| &found.keys).any(|found| found.name == key);
            assert!(has, "configs/redline.toml does not describe {section}.{key}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} keys were found");
    let mapping: String = sections
        .iter()
        .filter(|section| is_mapping(section))
        .map(|section| format!("{}\n{}", section.about, section.text))
        .collect();
    let known = [known("collect.x"), known("collect.x.columns.y")];
    for key in known
        .into_iter()
        .flat_map(|known| known.expect("a mapping has keys"))
    {
        assert!(
            mapping.contains(&key),
            "configs/redline.toml does not describe collect.SOURCE.{key}"
        );
    }
}

#[test]
fn every_key_of_the_documented_file_says_what_it_means() {
    let (head, sections) = read(FILE);
    assert!(head.contains("REDLINE_CONFIG"), "{head}");
    for section in sections.iter().filter(|section| !is_mapping(section)) {
        for key in section.keys.iter().filter(|key| !key.name.starts_with('"')) {
            assert!(
                !key.meaning.is_empty(),
                "{}.{} says nothing",
                section.name,
                key.name
            );
            assert!(
                key.is_example || !key.meaning.starts_with('…'),
                "{}.{} goes on with what another key says",
                section.name,
                key.name
            );
        }
    }
}
