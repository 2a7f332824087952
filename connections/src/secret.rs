//! Secrets from files, which is how they reach containers.

use std::path::Path;

use secrecy::SecretString;

/// More than any password, token or key has; a file that is larger is another one.
const LONGEST: u64 = 64 * 1024;

/// The secret in a file, without the line's end. `key` is the setting that names the file.
///
/// # Errors
/// A sentence that names the setting and the file, and nothing of what is in it.
pub fn read(file: &Path, key: &str) -> Result<SecretString, String> {
    let refused = |why: &str| format!("{key} names {}, {why}", file.display());
    let length = std::fs::metadata(file)
        .map_err(|error| refused(&format!("which cannot be read: {error}")))?
        .len();
    if length > LONGEST {
        return Err(refused("which is too large for a secret"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => refused("which is not UTF-8 text"),
        _ => refused(&format!("which cannot be read: {error}")),
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(refused("which is empty"));
    }
    Ok(secret.into())
}

/// Takes the secret from its file, where a file is named.
///
/// # Errors
/// When both are set, or the file cannot be used.
pub fn settle(
    secret: &mut Option<SecretString>,
    file: Option<&Path>,
    keys: (&str, &str),
) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    let (key, file_key) = keys;
    if secret.is_some() {
        return Err(format!("{key} and {file_key} are both set; keep one of them"));
    }
    *secret = Some(read(file, file_key)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_is_the_text_of_its_file_without_the_last_line_end() {
        let file = std::env::temp_dir().join(format!("redline-secret-{}", std::process::id()));
        std::fs::write(&file, " hunter2 \n").unwrap();
        let mut secret = None;
        settle(
            &mut secret,
            Some(&file),
            ("kafka.password", "kafka.password_file"),
        )
        .unwrap();
        assert_eq!(secret.as_ref().unwrap().expose_secret(), " hunter2 ");

        let both = settle(
            &mut secret,
            Some(&file),
            ("kafka.password", "kafka.password_file"),
        );
        assert_eq!(
            both.unwrap_err(),
            "kafka.password and kafka.password_file are both set; keep one of them"
        );
        std::fs::write(&file, "\n").unwrap();
        let empty = read(&file, "kafka.password_file").unwrap_err();
        assert!(
            empty.starts_with("kafka.password_file names ") && empty.ends_with("which is empty"),
            "{empty}"
        );
        std::fs::remove_file(&file).unwrap();
        let gone = read(&file, "kafka.password_file").unwrap_err();
        assert!(gone.contains("which cannot be read: No such file"), "{gone}");
    }
}
