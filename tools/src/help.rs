//! The help texts of all commands as they stand on a terminal of eighty columns.

use clap::{Command, CommandFactory as _};

use crate::Arguments;

const WIDTH: usize = 80;

/// Every command with its path, the outer ones first.
fn all(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    found.push((path.clone(), command.clone()));
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        all(inner, &path, found);
    }
}

fn commands() -> Vec<(String, Command)> {
    let mut root = Arguments::command().term_width(WIDTH);
    root.build();
    let mut found = Vec::new();
    all(&root, "", &mut found);
    found
}

fn help(command: &Command) -> String {
    command.clone().term_width(WIDTH).render_long_help().to_string()
}

#[test]
fn help_is_readable_on_eighty_columns_without_colour() {
    let mut pages = String::new();
    for (path, command) in commands() {
        let text = help(&command);
        let too_long: Vec<&str> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert!(too_long.is_empty(), "{path}: {too_long:#?}");
        assert!(!text.contains('\x1b'), "{path}");
        pages.push_str(&format!("$ {path} --help\n{}\n\n", text.trim_end()));
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn every_command_has_an_example_of_itself() {
    for (path, command) in commands() {
        let text = help(&command);
        let examples = text.rsplit("Example").next().unwrap_or_default();
        assert!(
            text.contains("Example") && examples.contains(&path),
            "{path}: {text}"
        );
    }
}
