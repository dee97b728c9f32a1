//! Requests that a web page has a browser send.
//!
//! A browser sends what any page asks it to, also to servers that only its machine reaches. What comes
//! from a page of another server says so in `Origin`, or in `Sec-Fetch-Site`. A page whose name was made
//! to mean this server's address (DNS rebinding) is of the same origin, as far as the browser knows, but its name
//! is in `Host`. So both are looked at before anything else. Programs send no `Origin`, and in `Host` the
//! name by which they were told to reach the server.

use super::error::ApiError;
use crate::raft::Members;
use axum::http::{HeaderMap, Method, Request, StatusCode, header, uri::Authority};
use lockwright_protocol::{cluster::NodeView, strict::brief};
use std::net::{IpAddr, Ipv6Addr};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Longer texts of others are cut in errors.
const SHOWN_MAX: usize = 100;

/// By which names this server is reached, and from which pages.
pub(crate) struct Admitted {
    /// Lowercase, without ports. `*` is any; one that begins with a dot is of all names below it.
    hosts: Vec<String>,
    /// Lowercase, as browsers write them. `*` is any.
    origins: Vec<String>,
}

impl Admitted {
    /// With what an operator has allowed, and where the server and the nodes of its cluster are reached
    /// by what it was told at its start.
    pub(crate) fn new<'a>(
        hosts: &[String],
        origins: &[String],
        addresses: impl Iterator<Item = &'a str>,
    ) -> Admitted {
        let told = addresses.map(|address| plain(host_of(address)));
        let hosts = hosts.iter().map(|host| match host.strip_prefix("*.") {
            Some(rest) => format!(".{}", plain(rest)),
            None => plain(host),
        });
        Admitted {
            hosts: hosts.chain(told).collect(),
            origins: origins
                .iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
        }
    }

    /// Whether a request may come from where it comes from.
    pub(crate) fn check<B>(&self, request: &Request<B>, members: &Members) -> Result<(), ApiError> {
        let nodes = || members.view().nodes;
        self.judge(request, nodes)
    }

    fn judge<B>(
        &self,
        request: &Request<B>,
        nodes: impl FnOnce() -> Vec<NodeView>,
    ) -> Result<(), ApiError> {
        let headers = request.headers();
        let host = match only(headers, &header::HOST)? {
            Some(host) => Some(authority(host)?),
            None => None,
        };
        let target = request.uri().authority();
        let mut nodes = Some(nodes);
        for named in host.iter().chain(target) {
            if named.as_str().contains('@') || !self.is_ours(named.host(), &mut nodes) {
                return Err(foreign_host(named.host()));
            }
        }
        match only(headers, &header::ORIGIN)? {
            Some(origin) => {
                let is_same = host.as_ref().is_some_and(|host| is_of(origin, host));
                match is_same || self.is_allowed(origin) {
                    true => Ok(()),
                    false => Err(foreign_origin(origin)),
                }
            }
            None if is_of_another_page(request.method(), headers) && !self.is_allowed("*") => {
                Err(foreign_origin("another site"))
            }
            None => Ok(()),
        }
    }

    fn is_ours(&self, host: &str, nodes: &mut Option<impl FnOnce() -> Vec<NodeView>>) -> bool {
        let host = plain(host);
        let is_allowed = |allowed: &String| match allowed.as_str() {
            "*" => true,
            domain if domain.starts_with('.') => host.ends_with(domain),
            name => name == host,
        };
        // No page has an address for its name that is not the one at which it is.
        if host == "localhost"
            || host.ends_with(".localhost")
            || is_address(&host)
            || self.hosts.iter().any(is_allowed)
        {
            return true;
        }
        // Nodes are added while this one runs.
        let nodes = nodes.take().map(|nodes| nodes()).unwrap_or_default();
        nodes
            .iter()
            .any(|node| plain(host_of(&node.client_address)) == host)
    }

    fn is_allowed(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.origins
            .iter()
            .any(|allowed| allowed == "*" || *allowed == origin)
    }

    /// What lets pages that may ask read the answers; none when there are no such pages.
    pub(super) fn pages(&self) -> Option<CorsLayer> {
        let origin = match self.origins.as_slice() {
            [] => return None,
            origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
            origins => AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok())),
        };
        let cors = CorsLayer::new()
            .allow_origin(origin)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
        Some(cors)
    }
}

/// Whether a browser says that a page of another site asks, and not a person that follows a link.
fn is_of_another_page(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, what: &[&str]| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| what.contains(&value))
    };
    let is_visit = *method == Method::GET && says("sec-fetch-mode", &["navigate"]);
    says("sec-fetch-site", &["cross-site", "same-site"]) && !is_visit
}

/// Whether an origin is that of this server as it was asked for.
fn is_of(origin: &str, host: &Authority) -> bool {
    let rest = origin.split_once("://").map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
}

/// A header that may come once.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a str>, ApiError> {
    let mut all = headers.get_all(name).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let text = first.to_str().ok().filter(|_| all.next().is_none());
    text.map(Some).ok_or_else(|| {
        ApiError::invalid(format!(
            "the header `{name}` comes more than once, or has characters that it cannot have"
        ))
    })
}

fn authority(host: &str) -> Result<Authority, ApiError> {
    host.parse().map_err(|_| {
        ApiError::invalid(format!(
            "the header `host` is `{}`, expected a name or an address, and a port if need be",
            brief(host, SHOWN_MAX)
        ))
    })
}

/// A name as all write it: in lower case, and without the dot that says that it is whole.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The host of `host:port`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn is_address(host: &str) -> bool {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inside {
        // One of the link may have the number of its interface behind it.
        Some(inside) => {
            let address = inside.split('%').next().unwrap_or(inside);
            address.parse::<Ipv6Addr>().is_ok()
        }
        None => host.parse::<IpAddr>().is_ok(),
    }
}

fn foreign_host(host: &str) -> ApiError {
    let host = brief(host, SHOWN_MAX);
    forbidden(format!(
        "`{host}` is no name of this server, so nothing was done: a web page may have been given \
         its address. Ask it by its address, or start it with --allow-host {host}"
    ))
}

fn foreign_origin(origin: &str) -> ApiError {
    let origin = brief(origin, SHOWN_MAX);
    forbidden(format!(
        "a web page of {origin} asks, and this server does nothing for pages of others. If it is to, \
         start it with --allow-origin and the page's origin, such as https://example.com"
    ))
}

fn forbidden(message: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_protocol::cluster::NodeRole;

    fn admitted(hosts: &[&str], origins: &[&str]) -> Admitted {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Admitted::new(
            &owned(hosts),
            &owned(origins),
            ["db1.:9009", "[::1]:9009"].into_iter(),
        )
    }

    fn nodes() -> Vec<NodeView> {
        vec![NodeView {
            id: 4,
            address: "db4:7401".to_owned(),
            client_address: "Front4.:9009".to_owned(),
            role: NodeRole::Learner,
            matched: None,
            up: None,
            heard_ms: None,
            lag: None,
        }]
    }

    fn asked(admitted: &Admitted, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let judged = admitted.judge(&request.body(()).unwrap(), nodes);
        judged.map_or_else(|error| error.status_and_json().0.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_of_the_server_are_answered() {
        let ours = admitted(&["locks", "*.Example.com"], &[]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:9009",
            "10.0.0.7:80",
            "[::1]:9009",
            "[fe80::1]",
            "[fe80::1%2]:9009",
            "db1.:9009",
            "front4.:9009",
            "localhost:9009",
            "LOCALHOST",
            "localhost.",
            "x.localhost",
            "db1",
            "DB1:9009",
            "front4:9009",
            "locks:1",
            "a.example.com",
            "a.b.example.com:9009",
        ] {
            assert_eq!(asked(&ours, "/v1/break", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.com",
            "evil.com:9009",
            "127.0.0.1.evil.com",
            "localhost.evil.com",
            "example.com",
            "evilexample.com",
            "db4",
            "db1.evil.com",
            "locks.evil.com",
            "127.1",
            "0x7f.1",
            "x@localhost",
        ] {
            assert_eq!(asked(&ours, "/v1/break", &[("host", host)]), 403, "{host}");
        }
        for host in ["", "a b", "a/b", "localhost:x:1"] {
            assert_eq!(asked(&ours, "/v1/break", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(asked(&ours, "/v1/break", &[]), 200);
        let both = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(asked(&ours, "/v1/break", &both), 400);
        let named = [("host", "localhost")];
        assert_eq!(asked(&ours, "http://evil.com/v1/break", &named), 403);
        assert_eq!(asked(&ours, "http://localhost/v1/break", &named), 200);
        assert_eq!(
            asked(&admitted(&["*"], &[]), "/", &[("host", "evil.com")]),
            200
        );
    }

    #[test]
    fn only_pages_of_the_server_and_those_that_are_allowed_are_answered() {
        let ours = admitted(&[], &["https://Ours.example", "null"]);
        let from = |origin: &str| {
            asked(
                &ours,
                "/",
                &[("host", "localhost:9009"), ("origin", origin)],
            )
        };
        for origin in [
            "http://localhost:9009",
            "https://ours.example",
            "HTTPS://OURS.EXAMPLE",
            "null",
        ] {
            assert_eq!(from(origin), 200, "{origin}");
        }
        for origin in [
            "http://evil.com",
            "http://localhost",
            "http://localhost:80",
            "http://localhost:9009.evil.com",
            "https://ours.example:444",
            "http://ours.example",
            "localhost:9009",
            "",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
        // Its name was made to mean this server.
        let rebound = [("host", "evil.com"), ("origin", "http://evil.com")];
        assert_eq!(asked(&ours, "/", &rebound), 403);
        let nothing = admitted(&[], &[]);
        assert_eq!(asked(&nothing, "/", &[("origin", "null")]), 403);
        assert_eq!(
            asked(&admitted(&[], &["*"]), "/", &[("origin", "http://x")]),
            200
        );
    }

    #[test]
    fn what_a_page_embeds_is_of_another_site_and_what_a_person_follows_is_not() {
        let ours = admitted(&[], &[]);
        let get = |site: &str, mode: &str| {
            let request = Request::get("/v1/locks")
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", mode);
            ours.judge(&request.body(()).unwrap(), nodes).is_ok()
        };
        assert!(get("same-origin", "cors") && get("none", "navigate"));
        assert!(get("cross-site", "navigate"));
        assert!(!get("cross-site", "no-cors") && !get("same-site", "no-cors"));
        let post = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(asked(&ours, "/v1/break", &post), 403);
    }
}
