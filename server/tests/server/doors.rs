//! Every door of the HTTP API refuses what it does not understand, and says so in the same form.
//!
//! The doors, their parameters and the fields of their bodies are those of `/openapi.json`, which a
//! unit test compares with what is served: a new one is covered here without a word, or fails because
//! nothing right is known that could be said in it.

use crate::common::{Service, within};
use lockwright_env::{Env, TokioEnv};
use lockwright_server::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A route in one method.
#[derive(Debug)]
struct Door {
    method: String,
    /// With something in each of its places.
    path: String,
    /// The names of the parameters that may be in the query.
    params: Vec<String>,
    /// Those that must be.
    required: Vec<String>,
    /// The schema of its body, if it takes one.
    body: Option<Value>,
    /// Whether it is described as one for operators.
    is_for_operators: bool,
}

/// Something right for each parameter and field, in JSON. In a query a text goes without its quotes.
fn right(name: &str) -> Value {
    match name {
        "key" | "path" | "prefix" | "name" => json!("a/b"),
        "mode" => json!("write"),
        "claims" => json!([{"mode": "write", "path": "a/b"}, "r c"]),
        "namespace" | "holder" | "request_id" | "label" | "session" => json!("x"),
        "owner" => json!({"holder": "x"}),
        "ttl_ms" | "wait_ms" | "token" | "limit" => json!(7),
        "id" => json!(9),
        "state" => json!("held"),
        "consistency" => json!("stale"),
        "cursor" => Value::Null,
        "address" | "client_address" => json!("127.0.0.1:1"),
        other => panic!("say here what is right for `{other}`"),
    }
}

impl Door {
    /// What can be said here without a mistake, with these parameters.
    fn target(&self, more: &[(&str, String)]) -> String {
        let mut pairs: Vec<String> = Vec::new();
        for name in &self.required {
            if !more.iter().any(|(other, _)| other == name) {
                pairs.push(format!("{name}={}", in_query(&right(name))));
            }
        }
        pairs.extend(more.iter().map(|(name, value)| format!("{name}={value}")));
        match pairs.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, pairs.join("&")),
        }
    }

    /// The fields of its body with something right in them, as texts; none when it takes none.
    fn fields(&self) -> Vec<(String, String)> {
        let Some(properties) = self.body.as_ref().map(|body| &body["properties"]) else {
            return Vec::new();
        };
        let names = properties.as_object().unwrap().keys();
        // One way to say what is to be locked excludes the other.
        let names = names.filter(|name| *name != "claims");
        names
            .map(|name| {
                // That of a request is a text, that of a node a number.
                let right = match name.as_str() {
                    "id" if self.path == "/v1/break" => json!("L"),
                    name => right(name),
                };
                (name.clone(), right.to_string())
            })
            .collect()
    }

    /// Its body without a mistake; empty when it takes none.
    fn right_body(&self) -> String {
        match &self.body {
            Some(_) => object(&self.fields()),
            None => String::new(),
        }
    }
}

fn in_query(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn object(fields: &[(String, String)]) -> String {
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name:?}:{value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// All doors that are described, and those of Locktopus' clients.
async fn doors(service: &Service) -> (Vec<Door>, Value) {
    let (status, _, description) = ask(service, "GET", "/openapi.json", "").await;
    assert_eq!(status, 200);
    let description: Value = serde_json::from_str(&description).unwrap();
    let mut doors = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, door) in methods.as_object().unwrap() {
            let named = |place: &str, must: bool| -> Vec<String> {
                let params = door["parameters"].as_array().into_iter().flatten();
                let params = params.filter(|param| param["in"] == place);
                let params = params.filter(|param| !must || param["required"] == true);
                params
                    .map(|param| param["name"].as_str().unwrap().to_owned())
                    .collect()
            };
            let mut filled = path.clone();
            for name in named("path", false) {
                filled = filled.replace(&format!("{{{name}}}"), &in_query(&right(&name)));
            }
            let schema = &door["requestBody"]["content"]["application/json"]["schema"];
            doors.push(Door {
                method: method.to_uppercase(),
                path: filled,
                params: named("query", false),
                required: named("query", true),
                body: (!schema.is_null()).then(|| resolved(&description, schema).clone()),
                is_for_operators: !door["security"].is_null(),
            });
        }
    }
    let locktopus = [
        ("/v1", vec!["namespace", "abandon-timeout-ms"]),
        ("/stats_v1", vec!["namespace"]),
    ];
    for (path, params) in locktopus {
        doors.push(Door {
            method: "GET".to_owned(),
            path: path.to_owned(),
            params: params.into_iter().map(str::to_owned).collect(),
            required: vec!["namespace".to_owned()],
            body: None,
            is_for_operators: false,
        });
    }
    (doors, description)
}

fn resolved<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(place) => description.pointer(place.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// Asks, and gives the status, the head and the body, of what goes on for ever only the head.
async fn ask(service: &Service, method: &str, target: &str, body: &str) -> (u16, String, String) {
    ask_as(service, "host: localhost\r\n", method, target, body).await
}

/// The same, with these lines about who asks.
async fn ask_as(
    service: &Service,
    lines: &str,
    method: &str,
    target: &str,
    body: &str,
) -> (u16, String, String) {
    let mut head = format!("{method} {target} HTTP/1.1\r\n{lines}");
    if ["/v1", "/v1/session"].contains(&target.split('?').next().unwrap()) {
        head.push_str("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
        head.push_str("sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
    } else {
        head.push_str("connection: close\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    raw(service, &format!("{head}\r\n{body}")).await
}

async fn raw(service: &Service, text: &str) -> (u16, String, String) {
    let mut stream = TokioEnv.connect(&service.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let head_end = |got: &[u8]| got.windows(4).position(|four| four == b"\r\n\r\n");
    within(async {
        loop {
            let is_over = stream.read_buf(&mut got).await.unwrap() == 0;
            let head =
                head_end(&got).map(|end| String::from_utf8_lossy(&got[..end]).to_lowercase());
            let goes_on = head.is_some_and(|head| {
                head.contains(" 101 ") || head.contains("ndjson") || text.starts_with("HEAD")
            });
            if is_over || goes_on {
                return;
            }
            let length = head_end(&got).and_then(|end| {
                let head = String::from_utf8_lossy(&got[..end]).to_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)?
                    .split("\r\n")
                    .next()?;
                Some(end + 4 + length.parse::<usize>().ok()?)
            });
            if length.is_some_and(|length| got.len() >= length) {
                return;
            }
        }
    })
    .await;
    let end = head_end(&got).unwrap_or_else(|| panic!("no head for {text:?}"));
    let head = String::from_utf8(got[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        head,
        String::from_utf8(got[end + 4..].to_vec()).unwrap(),
    )
}

/// What is answered is an error in the form of all errors.
fn is_error(asked: &str, got: &(u16, String, String), status: u16, parts: &[&str]) {
    let (got_status, head, body) = got;
    assert_eq!(*got_status, status, "{asked}: {body}");
    let is_json = head
        .to_lowercase()
        .contains("\r\ncontent-type: application/json");
    assert!(is_json, "{asked}: {head}");
    let json: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{asked}: {body}"));
    let code = json["error"].as_str().unwrap_or_default();
    let is_code = !code.is_empty()
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(is_code, "{asked}: {body}");
    let message = json["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "{asked}: {body}");
    for part in parts {
        assert!(message.contains(part), "{asked}: `{part}` is not in {body}");
    }
}

#[tokio::test]
async fn what_is_right_is_taken_at_every_door() {
    let service = Service::start(|_| {}).await;
    for door in doors(&service).await.0 {
        let got = ask(
            &service,
            &door.method,
            &door.target(&[]),
            &door.right_body(),
        )
        .await;
        let (status, _, body) = got;
        let code = match serde_json::from_str::<Value>(&body) {
            Ok(body) => body["error"].as_str().unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        };
        assert_ne!(code, "invalid_request", "{door:?}: {status} {body}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_at_every_door() {
    let service = Service::start(|_| {}).await;
    for door in doors(&service).await.0 {
        let mut wrong = vec![(vec![("ttl_msx", "5".to_owned())], "ttl_msx")];
        for name in &door.params {
            let value = in_query(&right_param(name));
            wrong.push((vec![(name, value.clone()), (name, value)], name));
        }
        for (more, named) in wrong {
            let target = door.target(&more);
            let got = ask(&service, &door.method, &target, &door.right_body()).await;
            is_error(&format!("{} {target}", door.method), &got, 400, &[named]);
        }
        if door.body.is_some() {
            let target = format!("{}?ttl_ms=5", door.path);
            let got = ask(&service, &door.method, &target, &door.right_body()).await;
            is_error(
                &target,
                &got,
                400,
                &["takes no query parameters", "ttl_ms=5"],
            );
        }
    }
    service.stop().await;
}

fn right_param(name: &str) -> Value {
    match name {
        "abandon-timeout-ms" => json!(60_000),
        name => right(name),
    }
}

#[tokio::test]
async fn a_body_where_none_is_read_is_refused_at_every_door() {
    let service = Service::start(|_| {}).await;
    for door in doors(&service).await.0 {
        if door.body.is_some() {
            continue;
        }
        let target = door.target(&[]);
        for body in ["ttl_ms=500", r#"{"ttl_ms":500}"#, "x"] {
            let got = ask(&service, &door.method, &target, body).await;
            is_error(
                &format!("{} {target}", door.method),
                &got,
                400,
                &["takes no body"],
            );
        }
        let chunked = |chunks: &str| {
            let (method, close) = (
                &door.method,
                "connection: close\r\ntransfer-encoding: chunked",
            );
            format!(
                "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{close}\r\n\r\n{chunks}0\r\n\r\n"
            )
        };
        let got = raw(&service, &chunked("1\r\nx\r\n")).await;
        is_error(&format!("{} {target}", door.method), &got, 400, &[]);
        let (_, _, body) = raw(&service, &chunked("")).await;
        assert!(
            !body.contains("takes no body"),
            "no chunks are no body: {body}"
        );
    }
    service.stop().await;
}

/// Bodies with a mistake, and the place that is to be named.
fn wrong_bodies(door: &Door) -> Vec<(String, String)> {
    let fields = door.fields();
    let mut wrong = vec![
        (String::new(), String::new()),
        ("null".to_owned(), "expected one JSON object".to_owned()),
        (format!("[{}]", object(&fields)), "got an array".to_owned()),
        (format!("{}{{}}", object(&fields)), "trailing".to_owned()),
    ];
    let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    wrong.push((format!("[{}]", values.join(",")), "got an array".to_owned()));
    let with = |more: (&str, &str)| {
        let mut fields = fields.clone();
        fields.push((more.0.to_owned(), more.1.to_owned()));
        object(&fields)
    };
    wrong.push((with(("ttlms", "5")), "at `ttlms`: unknown field".to_owned()));
    let instead = |name: &str, value: &str| {
        let mut fields: Vec<_> = fields
            .iter()
            .filter(|field| field.0 != name)
            .cloned()
            .collect();
        fields.push((name.to_owned(), value.to_owned()));
        object(&fields)
    };
    for (name, value) in &fields {
        wrong.push((with((name, value)), format!("at `{name}`: it comes twice")));
        wrong.push((
            instead(name, "null"),
            format!("at `{name}`: null is no value"),
        ));
        for value in ["true", "-1", "1.5", "{}", "[]", "[1]", r#"{"x":1}"#] {
            wrong.push((instead(name, value), format!("at `{name}")));
        }
    }
    if door.body.as_ref().unwrap()["properties"]["claims"].is_null() {
        return wrong;
    }
    let rest: Vec<_> = fields
        .iter()
        .filter(|(name, _)| name != "key" && name != "mode")
        .cloned()
        .collect();
    let claims = |claims: &str| {
        let mut fields = rest.clone();
        fields.push(("claims".to_owned(), claims.to_owned()));
        object(&fields)
    };
    for (claim, place) in [
        (
            r#"{"mode":"write","path":"a","ttl_ms":5}"#,
            "at `claims[1].ttl_ms`: unknown field",
        ),
        (
            r#"{"mode":"write","path":"a","path":"b"}"#,
            "at `claims[1].path`: it comes twice",
        ),
        (r#"{"mode":null,"path":"a"}"#, "at `claims[1].mode`: null"),
        (r#"{"mode":"write","path":7}"#, "at `claims[1].path`: "),
        (
            r#"{"mode":"write"}"#,
            "at `claims[1]`: missing field `path`",
        ),
        (r#"["write","a"]"#, "at `claims[1]`: "),
        ("7", "at `claims[1]`: "),
        ("null", "at `claims[1]`: null"),
    ] {
        wrong.push((claims(&format!(r#"["w a",{claim}]"#)), place.to_owned()));
    }
    for value in ["null", "7", "{}", r#""w a""#] {
        wrong.push((claims(value), "at `claims`: ".to_owned()));
    }
    wrong
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_refused_with_its_place_at_every_door() {
    let service = Service::start(|_| {}).await;
    let mut bodies = 0;
    for door in doors(&service).await.0 {
        if door.body.is_none() {
            continue;
        }
        for (body, place) in wrong_bodies(&door) {
            let got = ask(&service, &door.method, &door.path, &body).await;
            let asked = format!("{} {} {body}", door.method, door.path);
            is_error(&asked, &got, 400, &["invalid request body", &place]);
            bodies += 1;
        }
    }
    assert!(bodies > 100, "{bodies} bodies");
    // Nothing was locked by any of them.
    service.until(|usage| usage.engine.live_requests == 0).await;
    service.stop().await;
}

/// Every schema that can be reached from a schema.
fn all_below<'a>(description: &'a Value, schema: &'a Value, found: &mut Vec<&'a Value>) {
    let schema = resolved(description, schema);
    if found.iter().any(|other| std::ptr::eq(*other, schema)) {
        return;
    }
    found.push(schema);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let choices = ["oneOf", "anyOf", "allOf"].map(|name| schema[name].as_array());
    let choices = choices.into_iter().flatten().flatten();
    let items = Some(&schema["items"]).filter(|items| !items.is_null());
    for inner in properties
        .map(|(_, inner)| inner)
        .chain(choices)
        .chain(items)
    {
        all_below(description, inner, found);
    }
}

#[tokio::test]
async fn the_description_is_as_strict_as_the_doors() {
    let service = Service::start(|_| {}).await;
    let (doors, description) = doors(&service).await;
    for door in &doors {
        let mut schemas = Vec::new();
        if let Some(body) = &door.body {
            all_below(&description, body, &mut schemas);
        }
        for schema in schemas {
            if schema["type"] == "object" {
                assert_eq!(
                    schema["additionalProperties"], false,
                    "{}: {schema}",
                    door.path
                );
            }
            let types = &schema["type"];
            let is_nullable = types == "null"
                || types
                    .as_array()
                    .is_some_and(|types| types.iter().any(|one| one == "null"));
            assert!(!is_nullable, "{}: {schema}", door.path);
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn every_error_is_json_in_the_same_form() {
    let service = Service::start(|config| config.message_bytes_max = 1_000).await;
    let long = format!(r#"{{"key":"{}"}}"#, "x".repeat(2_000));
    for (method, target, body, status) in [
        ("GET", "/nowhere", "", 404),
        ("POST", "/", "", 405),
        ("GET", "/lock/", "", 404),
        ("DELETE", "/nowhere/at/all?x=1", "x", 404),
        ("GET", "/v1/acquire", "", 405),
        ("PATCH", "/v1/stats", "", 405),
        ("PUT", "/lock/a", "", 405),
        ("OPTIONS", "/v1/locks", "", 405),
        ("POST", "/v1/acquire", &long, 413),
        ("POST", "/v1/acquire", "", 400),
        ("GET", "/lock/a%", "", 400),
        ("GET", "/lock/%zz", "", 400),
        ("GET", "/lock/%ff", "", 400),
        ("GET", "/nowhere%ff", "", 400),
        ("GET", "/lock/a?namespace=%ff", "", 400),
        ("GET", "/v1/locks?prefix=%4", "", 400),
        ("GET", "/lock/a%00", "", 400),
        ("GET", "/lock/a", "", 404),
        ("DELETE", "/lock/a", "", 404),
        ("DELETE", "/v1/cluster/nodes/x", "", 400),
        ("POST", "/v1/cluster/nodes/-1/promote", "", 400),
        ("POST", "/v1/cluster/nodes/1/promote", "", 409),
        ("GET", "/v1/locks?limit=0", "", 400),
        ("GET", "/v1/locks?cursor=x", "", 400),
        ("GET", "/v1/sessions?limit=x", "", 400),
        ("GET", "/v1/fence", "", 400),
        ("GET", "/v1", "", 400),
        ("GET", "/v1?namespace=", "", 400),
        ("GET", "/v1?namespace=a&abandon-timeout-ms=x", "", 400),
        ("GET", "/stats_v1", "", 400),
        ("GET", "/stats_v1?namespace=none", "", 404),
    ] {
        let got = ask(&service, method, target, body).await;
        is_error(&format!("{method} {target}"), &got, status, &[]);
    }
    let head =
        |lines: &str| format!("GET /v1/session HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n");
    for (lines, status) in [
        ("connection: close", 400),
        ("connection: upgrade\r\nupgrade: h2c", 400),
        (
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 12",
            400,
        ),
        (
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13",
            400,
        ),
    ] {
        for path in ["/v1/session", "/v1?namespace=a"] {
            let asked = head(lines).replace("/v1/session", path);
            let got = raw(&service, &asked).await;
            is_error(&asked, &got, status, &["WebSocket"]);
        }
    }
    let (_, head, _) = ask(&service, "POST", "/v1/stats", "").await;
    assert!(
        head.to_lowercase().contains("\r\nallow: get,head"),
        "{head}"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_body_is_read_whatever_its_content_type() {
    let service = Service::start(|_| {}).await;
    for (n, kind) in [
        "",
        "content-type: application/json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: text/plain; charset=latin1\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(r#"{{"key":"{n}","holder":"h"}}"#);
        let asked = format!(
            "POST /v1/acquire HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(raw(&service, &asked).await.0, 200, "{kind}");
    }
    service.stop().await;
}

#[tokio::test]
async fn the_front_door_says_what_this_is() {
    let service = Service::start(|_| {}).await;
    let (status, head, body) = ask(&service, "GET", "/", "").await;
    assert_eq!(status, 200);
    assert!(
        head.to_lowercase().contains("content-type: text/plain"),
        "{head}"
    );
    assert_eq!(body.lines().count(), 1, "{body}");
    assert!(
        body.contains("lock service") && body.contains("docs/http.md"),
        "{body}"
    );
    let (status, _, body) = ask(&service, "HEAD", "/", "").await;
    assert_eq!((status, body.as_str()), (200, ""));
    service.stop().await;
}

#[tokio::test]
async fn pages_of_others_are_refused_at_every_door() {
    let service = Service::start(|config| {
        config.allowed_origins = vec!["https://ours.example".to_owned()];
    })
    .await;
    for door in doors(&service).await.0 {
        let (target, body) = (door.target(&[]), door.right_body());
        for (lines, named) in [
            ("host: elsewhere.example\r\n", "elsewhere.example"),
            (
                "host: elsewhere.example\r\norigin: http://elsewhere.example\r\n",
                "elsewhere.example",
            ),
            (
                "host: localhost\r\norigin: https://elsewhere.example\r\n",
                "https://elsewhere.example",
            ),
            ("host: localhost\r\norigin: null\r\n", "null"),
            (
                "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n",
                "another site",
            ),
        ] {
            let got = ask_as(&service, lines, &door.method, &target, &body).await;
            let asked = format!("{} {target} with {lines:?}", door.method);
            is_error(&asked, &got, 403, &[named, "--allow-"]);
        }
        let ours = "host: localhost\r\norigin: https://ours.example\r\n";
        let (status, _, body) = ask_as(&service, ours, &door.method, &target, &body).await;
        assert_ne!(status, 403, "{door:?}: {body}");
    }
    // Nothing was done for them.
    let stats = ask(&service, "GET", "/v1/stats", "").await.2;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["sessions"], json!(0), "{stats}");
    service.stop().await;
}

#[tokio::test]
async fn a_page_that_is_allowed_may_read_the_answers() {
    let service = Service::start(|config| {
        config.allowed_origins = vec!["https://ours.example".to_owned()];
    })
    .await;
    let before = "host: localhost\r\norigin: https://ours.example\r\n\
                  access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n";
    let (status, head, _) = ask_as(&service, before, "OPTIONS", "/v1/acquire", "").await;
    assert_eq!(status, 200, "{head}");
    let ours = "host: localhost\r\norigin: https://ours.example\r\n";
    let (_, answer, _) = ask_as(&service, ours, "GET", "/v1/stats", "").await;
    for head in [head, answer] {
        let head = head.to_lowercase();
        let allowed = "\r\naccess-control-allow-origin: https://ours.example";
        assert!(head.contains(allowed), "{head}");
    }
    let others = before.replace("ours", "elsewhere");
    let (status, _, _) = ask_as(&service, &others, "OPTIONS", "/v1/acquire", "").await;
    assert_eq!(status, 403);
    let (_, head, _) = ask(&service, "GET", "/v1/stats", "").await;
    assert!(
        !head
            .to_lowercase()
            .contains("\r\naccess-control-allow-origin"),
        "{head}"
    );
    service.stop().await;
}

#[tokio::test]
async fn what_operators_do_needs_their_token_at_every_door() {
    const TOKEN: &str = "a-token-of-operators";
    let with_token = Service::start(|config| {
        config.admin_token = Some(Secret::new(TOKEN).unwrap());
    })
    .await;
    let exposed = Service::start(|config| config.listen = "0.0.0.0:0".to_owned()).await;
    let loopback = Service::start(|_| {}).await;
    let ours = format!("host: localhost\r\nauthorization: Bearer {TOKEN}\r\n");
    let mut for_operators = Vec::new();
    for door in doors(&loopback).await.0 {
        let (method, target, body) = (&door.method, door.target(&[]), door.right_body());
        let asked = format!("{method} {target}");
        let without = ask(&with_token, method, &target, &body).await;
        let on_all = ask(&exposed, method, &target, &body).await;
        if door.is_for_operators {
            is_error(&asked, &without, 401, &["--admin-token-file"]);
            let head = without.1.to_lowercase();
            assert!(head.contains("\r\nwww-authenticate: bearer"), "{head}");
            is_error(&asked, &on_all, 403, &["--admin-token-file"]);
            for_operators.push(asked.clone());
        } else {
            assert!(![401, 403].contains(&without.0), "{asked}: {}", without.2);
            assert!(![401, 403].contains(&on_all.0), "{asked}: {}", on_all.2);
        }
        let (status, _, body) = ask_as(&with_token, &ours, method, &target, &body).await;
        assert!(![401, 403].contains(&status), "{asked}: {body}");
        let (status, _, body) = ask(&loopback, method, &target, &door.right_body()).await;
        assert!(![401, 403].contains(&status), "{asked}: {body}");
    }
    assert_eq!(
        for_operators,
        [
            "POST /v1/break",
            "POST /v1/cluster/leader",
            "POST /v1/cluster/nodes",
            "DELETE /v1/cluster/nodes/9",
            "POST /v1/cluster/nodes/9/promote",
            "DELETE /v1/sessions/x",
        ]
    );
    let wrong = "host: localhost\r\nauthorization: Bearer a-token-of-somebody\r\n";
    let got = ask_as(&with_token, wrong, "DELETE", "/v1/sessions/x", "").await;
    is_error("a wrong token", &got, 401, &["is another one"]);
    assert!(!got.2.contains(TOKEN));
    for service in [with_token, exposed, loopback] {
        service.stop().await;
    }
}
