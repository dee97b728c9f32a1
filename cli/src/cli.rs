//! The command line.

use crate::commands::{
    acquire, bench, break_lock, cluster, completions, end_session, inspect, lock, ls, namespaces,
    release, renew, serve, sessions, stats, watch,
};
use clap::{Parser, Subcommand};
use lockwright_client::Name;
use lockwright_protocol::cluster::{address_fault, is_host_name, reachable_fault};
use lockwright_server::Member;
use std::path::PathBuf;

/// A lock service: who may do what, one at a time, on many machines.
///
/// `serve` runs the server. `lock` runs a command while it holds a lock. The other commands look
/// at a running server, take locks by hand, and break them.
#[derive(Debug, Parser)]
#[command(name = "lockwright", version, max_term_width = 100, after_long_help = SETTINGS)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// A TOML file with settings: keys as the options of all commands, tables as the commands
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

const SETTINGS: &str = "\
Each option can also be given by an environment variable, which --help of its command names, and in
a TOML file (--config or LOCKWRIGHT_CONFIG):

    server = [\"lock1.example.net:9009\", \"lock2.example.net:9009\"]
    [serve]
    listen = \"0.0.0.0:9009\"
    data = \"/var/lib/lockwright\"

The command line counts more than the environment, the environment more than the file.

Exit codes:
    0  done
    1  the server cannot start or go on, or it refused what was asked
    2  the command line, the environment or the file cannot be used
   69  no server can be reached, or can serve; or an answer got lost
   70  a bug
   74  the output cannot be written
`lock` has more of them: see lockwright lock --help.";

/// The commands; each is a file of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Box<serve::Args>),
    /// Run a command while holding a lock
    Lock(lock::Args),
    /// Take a lock by hand, and print its token
    Acquire(acquire::Args),
    /// Set the end of a lock's lease anew
    Renew(renew::Args),
    /// Give a lock back
    Release(release::Args),
    /// List locks
    Ls(ls::Args),
    /// Show who holds a path, and who waits for it
    Inspect(inspect::Args),
    /// End a lock of another owner, or a request that waits
    Break(break_lock::Args),
    /// Show what happens to locks, as it happens
    Watch(watch::Args),
    /// List sessions
    Sessions(sessions::Args),
    /// End a session of another client, and all its locks
    EndSession(end_session::Args),
    /// List namespaces
    Namespaces(namespaces::Args),
    /// Show how much the server has in hand
    Stats(stats::Args),
    /// Show the nodes of a cluster, and change which there are
    Cluster(cluster::Args),
    /// Measure a server
    Bench(bench::Args),
    /// Print what a shell needs to complete command lines
    Completions(completions::Args),
}

/// Which servers, and which of their namespaces.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Where the server listens, as host:port; of a cluster any nodes, each asked when those before
    /// it cannot be
    #[arg(id = "server", long = "server", value_name = "ADDR,..", value_delimiter = ',',
          default_value = "127.0.0.1:9009", value_parser = reachable)]
    pub(crate) servers: Vec<String>,

    /// The namespace
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = name)]
    pub(crate) namespace: Name,
}

impl Target {
    /// The servers as `--server` takes them.
    pub(crate) fn servers(&self) -> String {
        self.servers.join(",")
    }
}

/// What shows a server that an operator asks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Operator {
    /// The file that has the servers' admin token, for servers that ask for one
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a name, such as that of a namespace.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// Reads `host:port`, with or without `http://` in front and blanks around it.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let bare = bare(text);
    match address_fault(bare) {
        None => Ok(bare.to_owned()),
        Some(fault) => Err(format!(
            "`{text}` is no address: {fault}; write host:port, as in 127.0.0.1:9009 or [::1]:9009, \
             and commas between several"
        )),
    }
}

/// Reads where a server is reached, which port 0 never is: `--listen` alone takes it.
pub(crate) fn reachable(text: &str) -> Result<String, String> {
    let address = address(text)?;
    match reachable_fault(&address) {
        None => Ok(address),
        Some(fault) => Err(format!(
            "`{text}` is no address to reach a server at: {fault}"
        )),
    }
}

fn bare(text: &str) -> &str {
    let bare = text.trim();
    let bare = bare.strip_prefix("http://").unwrap_or(bare);
    bare.strip_suffix('/').unwrap_or(bare)
}

/// Reads `1=host:7401/host:7301`.
pub(crate) fn member(text: &str) -> Result<Member, String> {
    let shape = || {
        format!(
            "`{text}` is no node: write its number, `=`, where other nodes reach it, `/`, and where \
             clients do, as in 1=10.0.0.1:7401/10.0.0.1:9009"
        )
    };
    let (id, addresses) = text.split_once('=').ok_or_else(shape)?;
    let (nodes, clients) = addresses.split_once('/').ok_or_else(shape)?;
    let id = id.trim().parse::<u64>().ok().filter(|id| *id > 0);
    // The whole shape is said unless one of the addresses alone is wrong.
    let part = |part: &str| match reachable(part) {
        Err(why) if address(part).is_ok() => Err(why),
        other => other.map_err(|_| shape()),
    };
    Ok(Member {
        id: id.ok_or_else(shape)?,
        address: part(nodes)?,
        client_address: part(clients)?,
    })
}

/// Reads the name of a host, or `*`, or all names below one as `*.example.com`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    match is_host_name(name) || text == "*" {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no host name: expected one without a port, as locks.example.net, all below one as \
             *.example.net, or *"
        )),
    }
}

/// Reads the origin of web pages, or `*`.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let is_origin = rest.is_some_and(|rest| {
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()),
            _ => (rest, Some(1)),
        };
        let is_address = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok());
        // A browser leaves out the port that is the scheme's.
        let is_default = port == Some(if text.starts_with("https") { 443 } else { 80 });
        (is_host_name(name) || is_address) && port.is_some() && !is_default
    });
    match is_origin || text == "*" {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no origin: expected scheme, host, and port if need be, as a browser sends it: \
             https://example.net, http://localhost:8000, without :443 and :80; or *"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        crate::settings::command().debug_assert();
    }

    #[test]
    fn addresses_are_read_with_and_without_scheme() {
        assert_eq!(address("http://a:1/").as_deref(), Ok("a:1"));
        assert_eq!(address("[::1]:9009").as_deref(), Ok("[::1]:9009"));
        assert!(address("[fe80::1%2]:9009").is_ok());
        assert_eq!(address(" a:1\n").as_deref(), Ok("a:1"));
        assert_eq!(
            address("not_found..name:0").as_deref(),
            Ok("not_found..name:0")
        );
        assert_eq!(reachable(" http://a:1/").as_deref(), Ok("a:1"));
        for text in ["a:0", "[::1]:0", "a:000", " http://a:0/"] {
            assert!(reachable(text).unwrap_err().contains("port 0"), "{text}");
            let node = format!("1=a:1/{}", text.trim());
            assert!(member(&node).is_err(), "{node}");
        }
        assert!(member("1=a:0/a:1").unwrap_err().contains("port 0"));
        assert!(member("1=a/a:1").unwrap_err().contains("is no node"));
        for (text, what) in [
            ("", "nothing"),
            (" ", "nothing"),
            ("a", "port is missing"),
            (":1", "host is missing"),
            ("a:b", "port is no number"),
            ("a:", "port is no number"),
            ("a:70000", "port is no number"),
            ("a:-1", "port is no number"),
            ("https://a:1", "no other scheme"),
            ("a:1/b", "a `/`"),
            ("a b:1", "a blank"),
            ("a: 1", "a blank"),
            ("::1:42401", "in brackets"),
            ("::1", "in brackets"),
            ("a:1:2", "in brackets"),
            ("[::1]", "no IPv6 address"),
            ("[a]:1", "no IPv6 address"),
            ("[::1:9", "no IPv6 address"),
            ("user@a:1", "no name has"),
            ("b\u{fc}cher:1", "no name has"),
        ] {
            let error = address(text).unwrap_err();
            assert!(
                error.contains(what) && error.contains("host:port"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for text in [
            "https://example.net",
            "http://localhost:8000",
            "http://[::1]:3000",
            "https://[::1]",
            "http://10.0.0.7:443",
            "*",
        ] {
            assert_eq!(origin(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            "example.net",
            "https://",
            "https://example.net/",
            "https://example.net:443",
            "http://example.net:80",
            "http://x:",
            "http://x:70000",
            "https://*.example.net",
            "ftp://example.net",
            "http://[::1",
            "null",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_without_ports() {
        for text in ["a", "a.example.net", "*.example.net", "*", "10.0.0.1", "a."] {
            assert_eq!(host(text), Ok(text.to_owned()));
        }
        for text in ["", "*.", "a:9009", "http://a", "a b", "a,b", "**", "a.*"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
