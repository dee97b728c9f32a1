//! Questions and answers over HTTP.

use super::{
    reach::{Connections, Names, was_unreached},
    round::{Answered, Asked, Nobody, Servers, Trouble},
    words,
};
use crate::{
    cli::Target,
    exit::{Exit, Failure},
    output, secrets,
};
use lockwright_server::Secret;
use serde_json::{Map, Value};
use std::{
    io::{self, Read},
    path::Path,
    time::Duration,
};
use ureq::{
    Agent, AsSendBody, Body, RequestExt,
    http::{Method, Request, Response, StatusCode},
};

/// How long a server is given to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server is given to begin its answer, beyond what it is asked to wait.
const ANSWER: Duration = Duration::from_secs(30);

/// How large an answer may be: a page of a thousand locks with all their claims fits.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Servers of one cluster, or one server, and one of their namespaces.
pub(crate) struct Api {
    agent: Agent,
    servers: Servers,
    /// None when what is asked for is not about locks.
    namespace: Option<String>,
    json: bool,
    /// What an operator shows.
    admin_token: Option<Secret>,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// So long, and a little more.
    For(Duration),
    /// As long as it takes.
    Forever,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Told {
    status: StatusCode,
    /// The body.
    pub(crate) answer: Value,
    /// Whether another server was asked before, whose answer got lost: it may have done it.
    pub(crate) before: bool,
}

impl Told {
    /// Whether what was asked is refused with one of `errors` because, it seems, a server that was
    /// asked before has done it, and its answer got lost. Says so, and prints the answer as JSON for
    /// a program. `done` is what may have been done, as "released the lock".
    ///
    /// Only for what leaves nothing to be done where these are the errors.
    pub(crate) fn is_done_before(
        &self,
        errors: &[&str],
        done: &str,
        as_json: bool,
    ) -> Result<bool, Failure> {
        let refused = self.answer["error"].as_str();
        if !self.before || !refused.is_some_and(|error| errors.contains(&error)) {
            return Ok(false);
        }
        output::tell(&format!(
            "lockwright: nothing is left to do: a server that was asked before, and whose answer got \
             lost, may have {done}"
        ));
        if as_json {
            let said = output::say(&self.answer.to_string());
            said.map_err(|failure| failure.but_done(done))?;
        }
        Ok(true)
    }
}

/// How the lines of a server ended.
#[derive(Debug)]
pub(crate) struct LinesEnd {
    /// Which server.
    pub(crate) server: String,
    /// Why, as far as can be known.
    pub(crate) why: String,
}

impl Api {
    /// The servers that are meant. With `json`, what they refuse is printed as they say it.
    pub(crate) fn new(target: &Target, json: bool) -> Api {
        let namespace = target.namespace.as_str().to_owned();
        Api::with(target.servers.clone(), Some(namespace), json)
    }

    /// The same, to be asked about all of their namespaces.
    pub(crate) fn of_all(target: &Target, json: bool) -> Api {
        Api::with(target.servers.clone(), None, json)
    }

    /// The nodes that are to be asked about their cluster.
    pub(crate) fn of_cluster(servers: Vec<String>, json: bool) -> Api {
        Api::with(servers, None, json)
    }

    fn with(servers: Vec<String>, namespace: Option<String>, json: bool) -> Api {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            // One that the server has closed meanwhile would look like an answer that got lost.
            .max_idle_connections(0)
            // Sessions know of no proxy either.
            .proxy(None)
            .user_agent(concat!("lockwright/", env!("CARGO_PKG_VERSION")))
            .build();
        Api {
            agent: Agent::with_parts(config, Connections::default(), Names::default()),
            servers: Servers::new(servers),
            namespace,
            json,
            admin_token: None,
        }
    }

    /// The same, asked by an operator.
    pub(crate) fn for_operator(self, token_file: Option<&Path>) -> Result<Api, Failure> {
        let admin_token = secrets::read_if_given("--admin-token-file", token_file)?;
        Ok(Api {
            admin_token,
            ..self
        })
    }

    /// Asks for something in the namespace.
    pub(crate) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let path = self.with_query(path, query);
        let told = self.ask(
            &Method::GET,
            &path,
            None,
            Asked::ToLook,
            Patience::default(),
        )?;
        self.accept(told)
    }

    /// Asks for lines, and hands out each as it comes, until there are no more. `opened` is called
    /// before the first, when the server has begun to answer.
    pub(crate) fn lines(
        &self,
        path: &str,
        query: &[(&str, String)],
        opened: impl FnOnce() -> Result<(), Failure>,
        mut each: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<LinesEnd, Failure> {
        let path = self.with_query(path, query);
        let answered = self.servers.ask(Asked::ToLook, |server| {
            let response = self.send(server, &Method::GET, &path, None, Patience::default())?;
            if response.status().is_success() {
                return Ok(Ok((server.to_owned(), response)));
            }
            read(response).map(Err)
        });
        let (server, response) = match answered.map_err(|nobody| self.nobody(&nobody))?.answer {
            Ok(answered) => answered,
            Err((_, answer)) => return Err(self.refusal(&answer, Exit::REFUSED, false)),
        };
        opened()?;
        let reader = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        for line in io::BufRead::lines(io::BufReader::new(reader)) {
            match line {
                Ok(line) if line.is_empty() => {}
                Ok(line) => each(&line)?,
                Err(error) => {
                    let why = error.to_string();
                    return Ok(LinesEnd { server, why });
                }
            }
        }
        let why = "it has ended its answer, as when it is told to stop".to_owned();
        Ok(LinesEnd { server, why })
    }

    /// Has the server that answered last asked last from now on. False when there is no other.
    pub(crate) fn pass_over_last(&self) -> bool {
        self.servers.pass_over_last();
        self.servers.count() > 1
    }

    /// Asks to have something done in the namespace.
    pub(crate) fn post(
        &self,
        path: &str,
        body: Map<String, Value>,
        asked: Asked,
        patience: Patience,
    ) -> Result<Value, Failure> {
        let told = self.try_post(path, body, asked, patience)?;
        self.accept(told)
    }

    /// As [`post`](Api::post), and what is refused is an answer like others.
    pub(crate) fn try_post(
        &self,
        path: &str,
        mut body: Map<String, Value>,
        asked: Asked,
        patience: Patience,
    ) -> Result<Told, Failure> {
        if let Some(namespace) = &self.namespace {
            body.insert("namespace".to_owned(), namespace.clone().into());
        }
        let body = Value::Object(body).to_string();
        self.ask(&Method::POST, path, Some(&body), asked, patience)
    }

    /// Asks about the cluster.
    pub(crate) fn look(&self, path: &str) -> Result<Value, Failure> {
        let told = self.ask(&Method::GET, path, None, Asked::ToLook, Patience::default())?;
        self.accept(told)
    }

    /// Asks about the cluster, and says nothing if there is no answer.
    pub(crate) fn look_if_there(&self, path: &str) -> Option<Value> {
        let answered = self.servers.ask(Asked::ToLook, |server| {
            read(self.send(server, &Method::GET, path, None, Patience::default())?)
        });
        let (status, answer) = answered.ok()?.answer;
        status.is_success().then_some(answer)
    }

    /// Asks to have something changed about the cluster. Done twice it is as done once.
    pub(crate) fn change(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map(Value::to_string);
        let body = Some(body.unwrap_or_default());
        let (method, asked) = (&Method::POST, Asked::Again);
        let told = self.ask(method, path, body.as_deref(), asked, Patience::default())?;
        self.accept(told)
    }

    /// Asks to have something ended in the namespace.
    pub(crate) fn try_end(&self, path: &str) -> Result<Told, Failure> {
        let path = self.with_query(path, &[]);
        // Nobody makes again what has ended.
        let (method, asked) = (&Method::DELETE, Asked::Again);
        self.ask(method, &path, None, asked, Patience::default())
    }

    /// Asks to have something removed from the cluster.
    pub(crate) fn remove(&self, path: &str) -> Result<Value, Failure> {
        let (method, asked) = (&Method::DELETE, Asked::Again);
        let told = self.ask(method, path, None, asked, Patience::default())?;
        self.accept(told)
    }

    /// What was answered, unless it is a refusal.
    pub(crate) fn accept(&self, told: Told) -> Result<Value, Failure> {
        if told.status.is_success() {
            return Ok(told.answer);
        }
        Err(self.refusal(&told.answer, Exit::REFUSED, told.before))
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&str>,
        asked: Asked,
        patience: Patience,
    ) -> Result<Told, Failure> {
        let answered = self.servers.ask(asked, |server| {
            read(self.send(server, method, path, body, patience)?)
        });
        let Answered { answer, before } = answered.map_err(|nobody| self.nobody(&nobody))?;
        let (status, answer) = answer;
        Ok(Told {
            status,
            answer,
            before,
        })
    }

    fn send(
        &self,
        server: &str,
        method: &Method,
        path: &str,
        body: Option<&str>,
        patience: Patience,
    ) -> Result<Response<Body>, Trouble> {
        let timeout = match patience {
            Patience::For(wait) => Some(wait.saturating_add(ANSWER)),
            Patience::Forever => None,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{server}{path}"));
        if let Some(token) = &self.admin_token {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.run(request.body(body), timeout)
            }
            None => self.run(request.body(()), timeout),
        };
        sent.map_err(|error| match was_unreached(&error) {
            Some(why) => Trouble::Unreached(why),
            None => Trouble::Lost(error.to_string()),
        })
    }

    fn run<S: AsSendBody>(
        &self,
        request: ureq::http::Result<Request<S>>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        let configured = request?.with_agent(&self.agent).configure();
        configured.timeout_recv_response(timeout).build().run()
    }

    fn with_query(&self, path: &str, query: &[(&str, String)]) -> String {
        let namespace = self.namespace.iter().map(|name| ("namespace", name));
        let query = query.iter().map(|(name, value)| (*name, value));
        let pairs: Vec<String> = namespace
            .chain(query)
            .map(|(name, value)| format!("{name}={}", in_query(value)))
            .collect();
        format!("{path}?{}", pairs.join("&"))
    }

    /// No server gave an answer that counts.
    fn nobody(&self, nobody: &Nobody) -> Failure {
        if let Some(answer) = nobody.unavailable() {
            return self.refusal(answer, Exit::UNREACHABLE, nobody.perhaps_done);
        }
        let advice = if nobody.perhaps_done {
            self.perhaps()
        } else {
            "does `lockwright serve` run there?".to_owned()
        };
        Failure::new(Exit::UNREACHABLE, format!("{nobody}; {advice}"))
    }

    /// What is said when nobody knows.
    fn perhaps(&self) -> String {
        let look = match self.namespace {
            Some(_) => "`lockwright ls` or `inspect`",
            None => "`lockwright cluster status`",
        };
        format!(
            "a server may have done what was asked, and its answer got lost: look with {look} \
             before you ask again"
        )
    }

    /// What the server refused, with the facts that it gave.
    fn refusal(&self, answer: &Value, exit: Exit, perhaps_done: bool) -> Failure {
        // Where that cannot be written it is told on stderr; it stays a refusal.
        if self.json && output::write_line(&answer.to_string()).is_ok() {
            return Failure::Silent(exit);
        }
        let code = answer["error"].as_str().unwrap_or("unknown");
        if code == "request_mismatch" {
            return Failure::new(exit, format!("{code}: {}", mismatch(answer)));
        }
        let (message, facts) = (words::message(answer), words::facts(answer));
        let (message, facts) = (output::printable(&message), output::printable(&facts));
        let perhaps = if perhaps_done {
            format!("; {}", self.perhaps())
        } else {
            String::new()
        };
        Failure::new(exit, format!("{code}: {message}{facts}{perhaps}"))
    }
}

/// What is wrong with the id of a request, in the words of the command line.
fn mismatch(answer: &Value) -> String {
    let claims = answer["claims"].as_array().into_iter().flatten();
    let in_words = |claim: &Value| {
        let word = |name: &str| claim[name].as_str().unwrap_or("?").to_owned();
        format!("{} {}", word("mode"), word("path"))
    };
    let claims: Vec<String> = claims.map(in_words).collect();
    let claims = match claims.as_slice() {
        [] => "something else".to_owned(),
        _ if !answer["claims_left_out"].is_null() => {
            format!(
                "{} and {} more",
                claims.join(", "),
                answer["claims_left_out"]
            )
        }
        _ => claims.join(", "),
    };
    let ended = match answer["ended"].as_str() {
        Some(reason) => format!(", which ended as {reason}"),
        None => String::new(),
    };
    format!(
        "the --request-id is that of an earlier request of the same holder, for {claims}{ended}; nothing \
         was locked: ask for other keys, or in another mode, with another id"
    )
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::For(Duration::ZERO)
    }
}

/// Reads an answer to its end.
fn read(response: Response<Body>) -> Result<(StatusCode, Value), Trouble> {
    let status = response.status();
    let mut text = String::new();
    let body = response.into_body();
    let mut reader = body.into_with_config().limit(ANSWER_BYTES_MAX).reader();
    reader
        .read_to_string(&mut text)
        .map_err(|error| Trouble::Lost(error.to_string()))?;
    let answer: Value = serde_json::from_str(&text).map_err(|_| {
        Trouble::Lost(format!(
            "what answers there is no server of ours, or an older one: {status}"
        ))
    })?;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Err(Trouble::Unavailable(answer));
    }
    Ok((status, answer))
}

/// A text as a value in the query of an address.
fn in_query(text: &str) -> String {
    in_path(text).replace('/', "%2F")
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
    fn a_mismatch_names_what_the_first_request_asked_for() {
        let answer = serde_json::json!({
            "error": "request_mismatch",
            "claims": [{"mode": "read", "path": "a/b"}, {"mode": "write", "path": "c"}],
        });
        assert!(
            mismatch(&answer).contains("same holder, for read a/b, write c; nothing was locked")
        );
        let answer = serde_json::json!({"error": "request_mismatch", "ended": "released"});
        assert!(mismatch(&answer).contains("for something else, which ended as released; nothing"));
    }

    #[test]
    fn a_path_survives_its_way_through_an_address() {
        assert_eq!(in_path("a/b-c.d"), "a/b-c.d");
        assert_eq!(in_path("a b/ü?#%"), "a%20b/%C3%BC%3F%23%25");
    }
}
