//! `${NAME}` in the texts of the file.

use thiserror::Error;

/// How a variable of the environment is looked up; a function, so that tests need no real ones.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a text cannot be completed.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum EnvironmentError {
    #[error("the variable {name} is not set")]
    Unset { name: String },
    #[error("`${{` is not followed by the name of a variable and `}}`")]
    Unclosed,
}

/// Puts variables in: `${NAME}` is the variable's value, `$${` is `${`.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, EnvironmentError> {
    let mut out = String::with_capacity(text.len());
    let mut left = text;
    while let Some((before, after)) = left.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            left = after;
            continue;
        }
        let (name, rest) = after.split_once('}').ok_or(EnvironmentError::Unclosed)?;
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(sound) {
            return Err(EnvironmentError::Unclosed);
        }
        let unset = || EnvironmentError::Unset { name: name.to_owned() };
        out.push_str(before);
        out.push_str(&lookup(name).ok_or_else(unset)?);
        left = rest;
    }
    out.push_str(left);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once_and_can_be_escaped() {
        let lookup = |name: &str| (name == "A").then(|| "${B}".to_owned());
        let expand = |text| expand(text, &lookup);
        assert_eq!(expand("x${A}y"), Ok("x${B}y".to_owned()));
        assert_eq!(expand("$${A}$"), Ok("${A}$".to_owned()));
        assert_eq!(expand("^a$"), Ok("^a$".to_owned()));
        assert_eq!(expand("${C}"), Err(EnvironmentError::Unset { name: "C".to_owned() }));
        assert_eq!(expand("${A"), Err(EnvironmentError::Unclosed));
        assert_eq!(expand("${a-b}"), Err(EnvironmentError::Unclosed));
    }
}
