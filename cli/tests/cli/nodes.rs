//! Real clusters: nodes that are killed, added and removed while locks are held.

use crate::support::{Dir, Server, code, eventually, lockwright, run, stderr, stdout};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nodes that run; killed with the test.
struct Nodes {
    dir: Dir,
    settings: String,
    /// Where clients reach each.
    addresses: Vec<String>,
    servers: Vec<Option<Server>>,
}

/// Addresses that are free, and below the ports that the system gives to whoever wants any: so they
/// stay so while a node is down.
fn free_addresses(count: usize) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(131) % 8_000;
    let addresses = std::iter::from_fn(|| {
        let next = first + NEXT.fetch_add(1, Ordering::Relaxed);
        Some(format!("127.0.0.1:{}", 20_000 + next % 12_000))
    });
    addresses
        .filter(|address| TcpListener::bind(address).is_ok())
        .take(count)
        .collect()
}

/// Asks one node over HTTP: the status, and the JSON of the answer.
fn http(node: &str, method: &str, target: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(node).unwrap();
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n");
    let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

impl Nodes {
    /// Three nodes, told of each other by a file, and a leader.
    fn three() -> Nodes {
        let dir = Dir::new();
        let (peers, addresses) = (free_addresses(3), free_addresses(3));
        let mut settings = "[cluster]\nname = 'tested'\n".to_owned();
        for (index, (peer, client)) in peers.iter().zip(&addresses).enumerate() {
            settings.push_str(&format!(
                "[[cluster.members]]\nid = {}\naddress = '{peer}'\nclient_address = '{client}'\n",
                index + 1
            ));
        }
        let settings = dir.write("settings.toml", &settings);
        let mut nodes = Nodes {
            dir,
            settings,
            addresses,
            servers: vec![None, None, None],
        };
        for id in 1..=3 {
            nodes.start(id);
        }
        eventually("there is a leader", || {
            code(&nodes.cluster(&["status"])) == 0
        });
        nodes
    }

    fn start(&mut self, id: usize) {
        let number = id.to_string();
        let data = self.dir.path(&format!("node{id}"));
        let args = ["--config", &self.settings, "--id", &number, "--data", &data];
        // It listens where its settings say that clients reach it.
        let server = Server::start_on(&self.addresses[id - 1], &args);
        self.servers[id - 1] = Some(server);
    }

    fn kill(&mut self, id: usize) {
        self.servers[id - 1] = None;
    }

    /// As `--server` has it.
    fn all(&self) -> String {
        self.addresses.join(",")
    }

    fn cluster(&self, args: &[&str]) -> Output {
        run(&[&["cluster", "--server", &self.all()], args].concat())
    }

    fn view(&self, args: &[&str]) -> Value {
        let output = self.cluster(&[args, &["--json"]].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("it is JSON")
    }

    /// Waits until one leads who is right, and gives its number.
    fn leader_is(&self, right: impl Fn(usize) -> bool) -> usize {
        let mut leader = 0;
        eventually("the right node leads", || {
            let output = self.cluster(&["status", "--json"]);
            let view: Value = serde_json::from_str(&stdout(&output)).unwrap_or_default();
            leader = usize::try_from(view["leader"].as_u64().unwrap_or(0)).unwrap();
            code(&output) == 0 && right(leader)
        });
        leader
    }

    /// The token of a lock that is taken, however often that must be asked for.
    fn acquired(&self, key: &str) -> String {
        let mut token = String::new();
        eventually("it is granted", || {
            let output = self.ask(&["acquire", key, "--request-id", key]);
            token = stdout(&output);
            code(&output) == 0
        });
        token
    }

    fn ask(&self, args: &[&str]) -> Output {
        let (command, rest) = args.split_first().unwrap();
        run(&[&[*command, "--server", &self.all()], rest].concat())
    }
}

#[test]
fn a_command_goes_on_under_its_lock_when_the_leader_is_killed() {
    let mut nodes = Nodes::three();
    let script = format!(
        "echo $LOCKWRIGHT_TOKEN; touch {}; until [ -e {} ]; do sleep 0.05; done; exit 7",
        nodes.dir.path("held"),
        nodes.dir.path("end")
    );
    let holder = lockwright(&["lock", "--server", &nodes.all(), "a", "--"])
        .args(["sh", "-c", &script])
        .spawn()
        .unwrap();
    eventually("the lock is held", || nodes.dir.has("held"));
    let waiter = lockwright(&["lock", "--server", &nodes.all(), "a/b", "--"])
        .args(["sh", "-c", "echo $LOCKWRIGHT_TOKEN"])
        .spawn()
        .unwrap();
    eventually("somebody waits", || {
        stdout(&nodes.ask(&["ls", "--queued"])).contains("queued")
    });
    let first = nodes.leader_is(|_| true);
    nodes.kill(first);
    nodes.leader_is(|leader| leader != first);
    // Both are still there, and in the same order.
    let listed = stdout(&nodes.ask(&["ls", "--queued"]));
    assert!(
        listed.find("write a") < listed.find("write a/b"),
        "{listed}"
    );
    let busy = nodes.ask(&["acquire", "a"]);
    assert!(
        code(&busy) == 1 && stderr(&busy).contains("busy"),
        "{}",
        stderr(&busy)
    );
    nodes.dir.write("end", "");
    let held = holder.wait_with_output().unwrap();
    assert_eq!(code(&held), 7, "{}", stderr(&held));
    let waited = waiter.wait_with_output().unwrap();
    assert_eq!(code(&waited), 0, "{}", stderr(&waited));
    let token = |output: &Output| stdout(output).trim().parse::<u64>().unwrap();
    assert!(token(&held) < token(&waited));
    // Whoever comes back finds what has happened meanwhile.
    nodes.start(first);
    eventually("it has caught up", || {
        let listed = run(&["ls", "--server", &nodes.addresses[first - 1]]);
        code(&listed) == 0 && stdout(&listed).is_empty()
    });
}

#[test]
fn nodes_are_added_promoted_and_removed_and_hand_over() {
    let nodes = Nodes::three();
    let token = nodes.acquired("kept");
    let [peer, client] = <[String; 2]>::try_from(free_addresses(2)).unwrap();
    let data = nodes.dir.path("node4");
    // It waits until it is added: it is told of nobody.
    let args = ["--id", "4", "--peer-listen", &peer, "--data", &data];
    let args = [&args[..], &["--cluster-name", "tested"]].concat();
    let _fourth = Server::start_on(&client, &args);
    let alone = run(&["ls", "--server", &client]);
    assert_eq!(code(&alone), 69, "{}", stderr(&alone));

    let node = format!("4={peer}/{client}");
    let roles = |view: &Value| -> Vec<String> {
        let nodes = view["nodes"].as_array().unwrap().iter();
        let role = |node: &Value| format!("{} {}", node["id"], node["role"].as_str().unwrap());
        nodes.map(role).collect()
    };
    let early = nodes.cluster(&["promote", "4"]);
    assert!(
        code(&early) == 1 && stderr(&early).contains("conflict"),
        "{}",
        stderr(&early)
    );
    let added = nodes.view(&["add", &node]);
    assert_eq!(
        roles(&added),
        ["1 voter", "2 voter", "3 voter", "4 learner"]
    );
    // Of one that nobody has heard of, it is not said that it is behind.
    let [away, nowhere] = <[String; 2]>::try_from(free_addresses(2)).unwrap();
    nodes.view(&["add", &format!("5={away}/{nowhere}")]);
    let unheard = nodes.cluster(&["promote", "5", "--wait", "0ms"]);
    let text = stderr(&unheard);
    assert_eq!(code(&unheard), 1, "{text}");
    let told = format!("node 5 has not been heard of at {away}");
    assert!(text.contains(&told) && !text.contains("behind"), "{text}");
    let leader = &nodes.addresses[nodes.leader_is(|_| true) - 1];
    for (node, status, what) in [
        (
            format!(r#"{{"id":6,"address":"","client_address":"{nowhere}"}}"#),
            400,
            "`address`",
        ),
        (
            format!(r#"{{"id":6,"address":"a","client_address":"{nowhere}"}}"#),
            400,
            "port is missing",
        ),
        (
            format!(r#"{{"id":6,"address":"a:0","client_address":"{nowhere}"}}"#),
            400,
            "port 0",
        ),
        (
            r#"{"id":6,"address":"a:1","client_address":"b:0"}"#.to_owned(),
            400,
            "`client_address`",
        ),
        (
            format!(r#"{{"id":6,"address":"a:1","client_address":"{nowhere}"}}"#),
            409,
            "node 5",
        ),
        (
            format!(r#"{{"id":5,"address":"{away}","client_address":"b:1"}}"#),
            409,
            nowhere.as_str(),
        ),
    ] {
        let (got, answer) = http(leader, "POST", "/v1/cluster/nodes", &node);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            got == status && message.contains(what),
            "{node}: {got} {answer}"
        );
    }
    nodes.view(&["add", &format!("5={away}/{nowhere}")]);
    nodes.view(&["remove", "5"]);
    let promoted = nodes.view(&["promote", "4"]);
    assert_eq!(roles(&promoted)[3], "4 voter");
    nodes.view(&["transfer-leader", "4"]);
    nodes.leader_is(|leader| leader == 4);
    let listed = run(&["ls", "--long", "--server", &client]);
    assert!(
        stdout(&listed).contains(token.trim()),
        "{}",
        stdout(&listed)
    );
    let leads = nodes.cluster(&["remove", "4"]);
    assert!(
        code(&leads) == 1 && stderr(&leads).contains("hand leadership over"),
        "{}",
        stderr(&leads)
    );
    nodes.view(&["transfer-leader", "1"]);
    nodes.leader_is(|leader| leader == 1);
    let removed = nodes.view(&["remove", "4"]);
    assert_eq!(roles(&removed), ["1 voter", "2 voter", "3 voter"]);
    let released = nodes.ask(&["release", "kept", "--token", token.trim()]);
    assert_eq!(code(&released), 0, "{}", stderr(&released));
}

#[test]
fn without_a_majority_nothing_is_granted() {
    let mut nodes = Nodes::three();
    nodes.kill(1);
    nodes.kill(2);
    eventually("the last one knows of no leader", || {
        code(&nodes.cluster(&["status"])) == 1
    });
    let refused = nodes.ask(&["acquire", "a", "--request-id", "a"]);
    assert_eq!(code(&refused), 69, "{}", stderr(&refused));
    // Nobody is sent to the leader that is gone, and who only looks is told that nothing was done.
    for (method, target, body) in [
        ("GET", "/v1/locks", ""),
        ("GET", "/readyz", ""),
        ("GET", "/v1/fence?key=a", ""),
        ("POST", "/v1/acquire", r#"{"key":"b","holder":"h"}"#),
        ("POST", "/lock/b", ""),
        ("POST", "/v1/cluster/leader", r#"{"id":1}"#),
    ] {
        let (status, answer) = http(&nodes.addresses[2], method, target, body);
        assert_eq!(status, 503, "{target}: {answer}");
        assert_eq!(answer["leader"], Value::Null, "{target}: {answer}");
        if method == "GET" {
            assert_eq!(answer["done"], false, "{target}: {answer}");
        }
    }
    nodes.start(1);
    // It may have been granted then, and is not twice.
    let token = nodes.acquired("a");
    assert_eq!(nodes.acquired("a"), token);
}
