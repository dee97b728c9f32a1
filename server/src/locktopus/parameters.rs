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
}

impl Parameters {
    /// Reads the query of a URL. Of a parameter that comes twice the first counts, and those that
    /// are not known are passed over.
    pub(super) fn parse(query: &str) -> Result<Parameters, ParametersError> {
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

/// The namespace that a query names.
pub(super) fn namespace(query: &str) -> Result<Name, ParametersError> {
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
        let parameters = parsed("namespace=a%2Fb+%C3%A4&other=1");
        assert_eq!(parameters.namespace.as_str(), "a/b ä");
        assert_eq!(parameters.abandon, None);
    }

    #[test]
    fn the_first_of_a_parameter_counts_and_zero_is_a_timeout() {
        let parameters = parsed("abandon-timeout-ms=0&namespace=a&namespace=b");
        assert_eq!(parameters.namespace.as_str(), "a");
        assert_eq!(parameters.abandon, Some(DurationMs::ZERO));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for query in ["", "namespace", "namespace=", "name=a"] {
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
