//! Questions and answers over HTTP.

use crate::{
    cli::Target,
    exit::{Exit, Failure},
    output,
};
use serde_json::{Map, Value};
use std::{io::Read, time::Duration};
use ureq::{Agent, Body, http::Response};

/// How long the server is given to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How large an answer may be: a page of a thousand locks with all their claims fits.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A server, and one of its namespaces.
pub(crate) struct Api {
    agent: Agent,
    server: String,
    namespace: String,
    json: bool,
}

impl Api {
    /// The server that is meant. With `json`, what it refuses is printed as the server says it.
    pub(crate) fn new(target: &Target, json: bool) -> Api {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            // Sessions know of no proxy either.
            .proxy(None)
            .user_agent(concat!("lockwright/", env!("CARGO_PKG_VERSION")))
            .build();
        Api {
            agent: config.into(),
            server: target.server.clone(),
            namespace: target.namespace.as_str().to_owned(),
            json,
        }
    }

    /// Asks for something in the namespace.
    pub(crate) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.read(self.ask(path, query)?)
    }

    /// Asks for lines, and hands out each as it comes, until there are no more.
    pub(crate) fn lines(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut each: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let response = self.ask(path, query)?;
        if !response.status().is_success() {
            return self.read(response).map(|_| ());
        }
        let reader = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
        for line in lines {
            let line = line.map_err(|error| self.unreachable(&error))?;
            if !line.is_empty() {
                each(&line)?;
            }
        }
        Ok(())
    }

    /// Asks the server to do something in the namespace.
    pub(crate) fn post(&self, path: &str, mut body: Map<String, Value>) -> Result<Value, Failure> {
        body.insert("namespace".to_owned(), self.namespace.clone().into());
        let request = self
            .agent
            .post(self.url(path))
            .content_type("application/json");
        let sent = request.send(Value::Object(body).to_string());
        self.read(sent.map_err(|error| self.unreachable(&error))?)
    }

    fn ask(&self, path: &str, query: &[(&str, String)]) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(self.url(path));
        request = request.query("namespace", &self.namespace);
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.call().map_err(|error| self.unreachable(&error))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server)
    }

    fn read(&self, response: Response<Body>) -> Result<Value, Failure> {
        let status = response.status();
        let mut text = String::new();
        let body = response.into_body();
        let mut reader = body.into_with_config().limit(ANSWER_BYTES_MAX).reader();
        reader
            .read_to_string(&mut text)
            .map_err(|error| self.unreachable(&error))?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| {
            let server = &self.server;
            Failure::new(
                Exit::UNREACHABLE,
                format!("what answers at {server} is no server of ours, or an older one: {status}"),
            )
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(self.refusal(&answer, status.as_u16()))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::new(
            Exit::UNREACHABLE,
            format!(
                "cannot speak with {}: {error}; does `lockwright serve` run there?",
                self.server
            ),
        )
    }

    /// What the server refused, with the facts that it gave.
    fn refusal(&self, answer: &Value, status: u16) -> Failure {
        let exit = if status == 503 {
            Exit::UNREACHABLE
        } else {
            Exit::REFUSED
        };
        if self.json {
            return match output::say(&answer.to_string()) {
                Ok(()) => Failure::Silent(exit),
                Err(failure) => failure,
            };
        }
        let code = answer["error"].as_str().unwrap_or("unknown");
        let message = answer["message"]
            .as_str()
            .unwrap_or("the server says no more");
        let facts: Vec<String> = answer
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| {
                !matches!(name.as_str(), "error" | "message") && !value.is_null()
            })
            .map(|(name, value)| match value.as_str() {
                Some(text) => format!("{name} {text}"),
                None => format!("{name} {value}"),
            })
            .collect();
        let facts = match facts.len() {
            0 => String::new(),
            _ => format!(" ({})", facts.join(", ")),
        };
        Failure::new(exit, format!("{code}: {message}{facts}"))
    }
}

/// A text as part of the path of an address.
pub(crate) fn in_path(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_its_way_through_an_address() {
        assert_eq!(in_path("a/b-c.d"), "a/b-c.d");
        assert_eq!(in_path("a b/ü?#%"), "a%20b/%C3%BC%3F%23%25");
    }
}
