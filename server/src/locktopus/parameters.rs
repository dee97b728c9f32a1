//! What a client says in the URL.

use lockwright_engine::{DurationMs, Name, NameError};
use std::borrow::Cow;

/// The namespace to lock in.
const NAMESPACE: &str = "namespace";

/// How long a lock outlives its connection.
const ABANDON_TIMEOUT: &str = "abandon-timeout-ms";

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) namespace: Name,
    /// The server's default when none is named, which is that of Locktopus' own server.
    pub(super) abandon: Option<DurationMs>,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParametersError {
    #[error("the URL parameter `{NAMESPACE}` is required: append ?{NAMESPACE}=NAME")]
    NoNamespace,
    #[error("the URL parameter `{NAMESPACE}` is no namespace: {0}")]
    Namespace(#[from] NameError),
    #[error(
        "the URL parameter `{ABANDON_TIMEOUT}` is `{got}`, expected milliseconds as an integer \
         from 0 to {max}",
        max = lockwright_engine::MAX_MS
    )]
    AbandonTimeout { got: String },
    #[error("the URL parameter `{name}` is not known: there are {known}")]
    Unknown { name: String, known: String },
    #[error("the URL parameter `{name}` comes twice: say it once")]
    Repeated { name: String },
}

impl Parameters {
    /// Reads the query of a URL.
    pub(super) fn parse(query: &str) -> Result<Parameters, ParametersError> {
        check(query, &[NAMESPACE, ABANDON_TIMEOUT])?;
        let namespace = namespace(query)?;
        let abandon = match value(query, ABANDON_TIMEOUT) {
            None => None,
            Some(text) => {
                let ms = text.parse().ok().and_then(|ms| DurationMs::new(ms).ok());
                Some(ms.ok_or_else(|| ParametersError::AbandonTimeout {
                    got: text.into_owned(),
                })?)
            }
        };
        Ok(Parameters { namespace, abandon })
    }
}

/// The namespace that a query names, which names nothing else.
pub(super) fn only_namespace(query: &str) -> Result<Name, ParametersError> {
    check(query, &[NAMESPACE])?;
    namespace(query)
}

/// Whether a query has only parameters that are known, each once: a misspelt abandon timeout must not
/// be another one.
fn check(query: &str, known: &[&str]) -> Result<(), ParametersError> {
    let mut seen = Vec::new();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !known.contains(&name.as_ref()) {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return Err(ParametersError::Unknown {
                name: name.into_owned(),
                known: known.join(" and "),
            });
        }
        if seen.contains(&name) {
            let name = name.into_owned();
            return Err(ParametersError::Repeated { name });
        }
        seen.push(name);
    }
    Ok(())
}

fn namespace(query: &str) -> Result<Name, ParametersError> {
    match value(query, NAMESPACE) {
        Some(name) if !name.is_empty() => Ok(Name::new(name)?),
        _ => Err(ParametersError::NoNamespace),
    }
}

/// The value of a parameter, as the query has it first.
fn value<'a>(query: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Parameters {
        Parameters::parse(query).unwrap()
    }

    #[test]
    fn a_namespace_is_enough_and_names_no_abandon_timeout() {
        let parameters = parsed("namespace=a%2Fb+%C3%A4");
        assert_eq!(parameters.namespace.as_str(), "a/b ä");
        assert_eq!(parameters.abandon, None);
    }

    #[test]
    fn zero_is_a_timeout() {
        let parameters = parsed("abandon-timeout-ms=0&namespace=a");
        assert_eq!(parameters.namespace.as_str(), "a");
        assert_eq!(parameters.abandon, Some(DurationMs::ZERO));
    }

    #[test]
    fn what_is_not_known_or_comes_twice_is_named() {
        for (query, expected) in [
            ("namespace=a&namespace=a", "`namespace` comes twice"),
            (
                "namespace=a&abandon_timeout_ms=5",
                "`abandon_timeout_ms` is not known: there are `namespace` and",
            ),
            ("Namespace=a", "`Namespace` is not known"),
        ] {
            let error = Parameters::parse(query).unwrap_err().to_string();
            assert!(error.contains(expected), "{query}: {error}");
        }
        assert!(only_namespace("namespace=a").is_ok());
        let error = only_namespace("namespace=a&abandon-timeout-ms=5").unwrap_err();
        assert!(matches!(error, ParametersError::Unknown { .. }), "{error}");
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for query in ["", "namespace", "namespace="] {
            let error = Parameters::parse(query).unwrap_err();
            assert_eq!(error, ParametersError::NoNamespace, "{query}");
        }
        let error = Parameters::parse("namespace=a%00").unwrap_err();
        assert!(matches!(error, ParametersError::Namespace(_)), "{error}");
        for value in ["", "-1", "1.5", "1s", "9007199254740992"] {
            let query = format!("namespace=a&abandon-timeout-ms={value}");
            let error = Parameters::parse(&query).unwrap_err().to_string();
            assert!(error.contains(&format!("is `{value}`")), "{error}");
        }
    }
}
