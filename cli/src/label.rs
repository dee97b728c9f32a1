//! What other people are told of a lock that this program takes.

use lockwright_client::{LABEL_BYTES_MAX, Label, LabelError};
use nix::unistd::{User, gethostname, getuid};
use std::{
    ffi::{OsStr, OsString},
    process,
};

/// A label as it is given: that text, or for an empty one none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given(Option<Label>);

/// Reads `--label`.
pub(crate) fn given(text: &str) -> Result<Given, String> {
    match Label::new(text) {
        Ok(label) => Ok(Given(Some(label))),
        Err(LabelError::Empty) => Ok(Given(None)),
        Err(error @ LabelError::TooLong { .. }) => Err(format!(
            "{error}: the limit label_bytes is {LABEL_BYTES_MAX}"
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// The label that was given, or what says the most of this process: user, host, number, and the
/// program that it is for.
///
/// Not the program's arguments: a password among them would get to other hosts, disks and logs.
pub(crate) fn label(given: Option<&Given>, program: Option<&OsStr>) -> Option<Label> {
    match given {
        Some(Given(label)) => label.clone(),
        None => Label::lossy(&of_this_process(program)),
    }
}

fn of_this_process(program: Option<&OsStr>) -> String {
    let uid = getuid();
    let user = match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    };
    let host = gethostname().unwrap_or_else(|_| OsString::from("?"));
    let mut label = format!("{user}@{}[{}]", host.to_string_lossy(), process::id());
    if let Some(program) = program {
        label.push(' ');
        label.push_str(&program.to_string_lossy());
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_counts_and_may_be_nothing() {
        let program = Some(OsStr::new("make\nit"));
        let text = |given: Option<&Given>| label(given, program).map(String::from);
        assert_eq!(text(Some(&given("a b").unwrap())).as_deref(), Some("a b"));
        assert_eq!(text(Some(&given("").unwrap())), None);
        let own = text(None).unwrap();
        let end = format!("[{}] make it", process::id());
        assert!(own.contains('@') && own.ends_with(&end), "{own}");
        assert!(given("a\u{1b}[2J").unwrap_err().contains("control"));
        let long = given(&"x".repeat(257)).unwrap_err();
        assert!(
            long.contains("label_bytes") && long.contains("256"),
            "{long}"
        );
        let long = label(None, Some(OsStr::new(&"x".repeat(1000)))).unwrap();
        assert_eq!(long.as_str().len(), LABEL_BYTES_MAX);
    }
}
