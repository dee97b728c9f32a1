//! Several servers as one: three nodes on real sockets and real disks.

use crate::common::within;
use lockwright_env::{Env, TokioEnv, sleep, timeout};
use lockwright_server::{
    BindError, ClusterConfig, Drain, Member, Secret, Server, ServerConfig, ServerHandle, Storage,
    StoreError,
};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
    task::JoinHandle,
};

/// Nodes of a cluster, each in a task that can be aborted.
struct Cluster {
    members: Vec<Member>,
    directory: PathBuf,
    nodes: Vec<Option<Node>>,
    /// What its nodes know.
    secret: Option<Secret>,
}

/// A node, in a runtime of its own: what it has started dies with it.
struct Node {
    handle: ServerHandle,
    task: JoinHandle<()>,
    runtime: Runtime,
}

impl Cluster {
    async fn start(name: &str, count: u64) -> Cluster {
        Cluster::start_with(name, count, None).await
    }

    async fn start_with(name: &str, count: u64, secret: Option<Secret>) -> Cluster {
        let members = members(count);
        let directory =
            std::env::temp_dir().join(format!("lockwright-cluster-{name}-{}", std::process::id()));
        let mut cluster = Cluster {
            members,
            directory,
            nodes: Vec::new(),
            secret,
        };
        for id in 1..=count {
            let node = cluster.node(id).await;
            cluster.nodes.push(Some(node));
        }
        cluster
    }

    /// Tells a node to stop when no locks are held, and waits until it has heard of it.
    async fn begin_to_drain(&self, place: usize) {
        let node = self.nodes[place].as_ref().unwrap();
        node.handle.shutdown_with(Drain::Locks);
        within(async {
            while self.ask(place, "/readyz", &Value::Null).await.unwrap().0 == 200 {
                sleep(&TokioEnv, Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// A node that waits to be added.
    async fn newcomer(&mut self) -> u64 {
        let id = self.members.len() as u64 + 1;
        let (network, first) = self.members[0].address.rsplit_once('.').unwrap();
        let (first, _) = first.split_once(':').unwrap();
        let host = format!("{network}.{}", first.parse::<u64>().unwrap() + id - 1);
        self.members.push(Member {
            id,
            address: format!("{host}:7401"),
            client_address: format!("{host}:7301"),
        });
        let node = self.node_of(id, Vec::new()).await;
        self.nodes.push(Some(node));
        id
    }

    /// Asks every node, until the leader does it.
    async fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        within(async {
            loop {
                for (place, node) in self.nodes.iter().enumerate() {
                    if node.is_none() {
                        continue;
                    }
                    let address = &self.members[place].client_address;
                    match request(address, method, path, body).await {
                        Ok((200, answer)) => return answer,
                        other => println!("{method} {path} at node {}: {other:?}", place + 1),
                    }
                }
                sleep(&TokioEnv, Duration::from_millis(100)).await;
            }
        })
        .await
    }

    /// Waits until somebody waits for a path, as one node sees it.
    async fn has_queued(&self, place: usize, path: &str) {
        let address = &self.members[place].client_address;
        let target = format!("/v1/locks/{path}");
        within(async {
            loop {
                if let Ok((200, view)) = request(address, "GET", &target, &Value::Null).await
                    && view["queued"] != json!([])
                {
                    return;
                }
                sleep(&TokioEnv, Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Adds a node that was removed, and makes it a voter.
    async fn add_again(&self, id: u64) {
        let again = new_node(&self.members[usize::try_from(id).unwrap() - 1]);
        self.change("POST", "/v1/cluster/nodes", &again).await;
        let promote = format!("/v1/cluster/nodes/{id}/promote");
        let view = self.change("POST", &promote, &Value::Null).await;
        assert!(voters(&view).contains(&id), "{view}");
    }

    async fn node(&self, id: u64) -> Node {
        self.node_of(id, self.members.clone()).await
    }

    async fn node_of(&self, id: u64, members: Vec<Member>) -> Node {
        let member = &self.members[usize::try_from(id).unwrap() - 1];
        let mut config = ServerConfig::new(member.client_address.clone());
        config.drain_timeout = Duration::from_secs(600);
        config.storage = Storage::Directory(self.directory.join(id.to_string()));
        let listen = member.address.clone();
        let mut cluster = ClusterConfig::new(id, listen, members);
        cluster.heartbeat = Duration::from_millis(50);
        cluster.election_timeout = Duration::from_millis(300);
        cluster.secret.clone_from(&self.secret);
        config.cluster = Some(cluster);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = within(async {
            loop {
                let binding = runtime.spawn(Server::bind(TokioEnv, config.clone()));
                match binding.await.unwrap() {
                    // The threads that wrote for the one that was killed end by themselves.
                    Err(BindError::Store(StoreError::Locked { .. })) => {
                        sleep(&TokioEnv, Duration::from_millis(10)).await;
                    }
                    bound => return bound.unwrap(),
                }
            }
        })
        .await;
        let handle = server.handle();
        let task = runtime.spawn(async move { server.run().await.unwrap() });
        Node {
            handle,
            task,
            runtime,
        }
    }

    /// Takes the node away as a crash would.
    async fn kill(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        stop(node.runtime).await;
    }

    async fn ask(&self, place: usize, path: &str, body: &Value) -> Option<(u16, Value)> {
        let address = &self.members[place].client_address;
        let asking = post(address, path, body);
        timeout(&TokioEnv, Duration::from_secs(10), asking)
            .await
            .ok()?
            .ok()
    }

    /// Asks until it is done. A retry carries the same id.
    async fn surely(&self, place: usize, path: &str, body: &Value) -> Value {
        within(async {
            loop {
                match self.ask(place, path, body).await {
                    Some((200, answer)) => return answer,
                    other => println!("node {}: {other:?}", place + 1),
                }
                sleep(&TokioEnv, Duration::from_millis(50)).await;
            }
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.drain(..).flatten() {
            node.runtime.shutdown_background();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Ends a runtime, and waits until nothing of it runs.
#[expect(clippy::disallowed_methods, reason = "these servers are real")]
async fn stop(runtime: Runtime) {
    let stopping = move || runtime.shutdown_timeout(Duration::from_secs(5));
    tokio::task::spawn_blocking(stopping).await.unwrap();
}

/// The number of clusters that this process has started.
static CLUSTERS: AtomicU64 = AtomicU64::new(0);

/// Nodes of a new cluster. Its hosts are loopback addresses that nothing else uses, not even to
/// connect from, so that a node finds its ports free when it starts again.
fn members(count: u64) -> Vec<Member> {
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let process = u64::from(std::process::id());
    let (high, low) = (process / 200 % 200, process % 200);
    let host = |id| format!("127.{}.{}.{}", 20 + high, low, 10 * cluster + id);
    let member = |id| Member {
        id,
        address: format!("{}:7401", host(id)),
        client_address: format!("{}:7301", host(id)),
    };
    (1..=count).map(member).collect()
}

/// A node, as one asks to have it added.
fn new_node(member: &Member) -> Value {
    json!({
        "id": member.id,
        "address": member.address,
        "client_address": member.client_address,
    })
}

async fn post(address: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let method = if body.is_null() { "GET" } else { "POST" };
    request(address, method, path, body).await
}

async fn request(
    address: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> std::io::Result<(u16, Value)> {
    let mut stream = TokioEnv.connect(address).await?;
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.get(9..12).and_then(|text| text.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let body = body.and_then(|body| serde_json::from_str(body).ok());
    Ok((status.unwrap_or(0), body.unwrap_or(Value::Null)))
}

fn acquire(key: &str, holder: &str, id: &str) -> Value {
    json!({"key": key, "holder": holder, "request_id": id, "ttl_ms": 60_000, "wait_ms": 20_000})
}

fn token(answer: &Value) -> u64 {
    answer["token"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_survives_the_death_of_any_node() {
    let mut cluster = Cluster::start("survives", 3).await;
    let mut last = 0;
    for (place, key) in ["a", "b", "c"].iter().enumerate() {
        let granted = cluster
            .surely(place, "/v1/acquire", &acquire(key, "alice", key))
            .await;
        assert!(
            token(&granted) > last,
            "tokens increase, whichever node is asked"
        );
        last = token(&granted);
    }
    for dead in 0..3 {
        cluster.kill(dead).await;
        let asked = (dead + 1) % 3;
        for key in ["a", "b", "c"] {
            let path = format!("/lock/{key}");
            let seen = cluster.surely(asked, &path, &Value::Null).await;
            assert_eq!(seen["holder"], "alice", "{seen}");
        }
        let key = format!("after {dead}");
        let granted = cluster
            .surely(asked, "/v1/acquire", &acquire(&key, "bob", &key))
            .await;
        assert!(token(&granted) > last);
        last = token(&granted);
        let node = cluster.node(dead as u64 + 1).await;
        cluster.nodes[dead] = Some(node);
        // It has caught up when it sees what was granted without it.
        let seen = cluster
            .surely(dead, &format!("/lock/after%20{dead}"), &Value::Null)
            .await;
        assert_eq!(token(&seen), last);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_granted_and_a_waiter_is_told() {
    let mut cluster = Cluster::start("minority", 3).await;
    cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    cluster.kill(1).await;
    cluster.kill(2).await;
    let asked = cluster
        .ask(0, "/v1/acquire", &acquire("b", "bob", "2"))
        .await;
    let (status, answer) = asked.expect("it answers");
    assert_eq!((status, &answer["error"]), (503, &json!("unavailable")));
    let read = cluster.ask(0, "/lock/a", &Value::Null).await;
    assert_eq!(read.expect("it answers").0, 503);
    let stale = cluster
        .ask(0, "/v1/locks?consistency=stale", &Value::Null)
        .await;
    let (status, answer) = stale.expect("it answers");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["locks"][0]["owner"],
        json!({"holder": "alice"}),
        "{answer}"
    );
    for dead in [1, 2] {
        let node = cluster.node(dead as u64 + 1).await;
        cluster.nodes[dead] = Some(node);
    }
    let granted = cluster
        .surely(2, "/v1/acquire", &acquire("b", "bob", "2"))
        .await;
    assert!(token(&granted) > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_at_one_node_is_granted_by_a_release_at_another() {
    let cluster = Cluster::start("hand-off", 3).await;
    let held = cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    let ask_bob = acquire("a", "bob", "2");
    let waiting = cluster.surely(1, "/v1/acquire", &ask_bob);
    let releasing = async {
        cluster.has_queued(2, "a").await;
        let body = json!({"key": "a", "token": token(&held)});
        cluster.surely(2, "/v1/release", &body).await
    };
    let (granted, _) = tokio::join!(waiting, releasing);
    assert!(token(&granted) > token(&held));
}

/// Whichever node it asked: the leader, or one that has the leader do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_before_its_answer_holds_nothing() {
    let cluster = Cluster::start("hang-up", 3).await;
    for place in 0..3 {
        cluster
            .surely(
                place,
                "/v1/acquire",
                &acquire("first", "a", &format!("{place}")),
            )
            .await;
        let body = json!({"key": "first"});
        cluster.surely(place, "/v1/break", &body).await;
        for resets in [true, false] {
            for number in 0..10 {
                let body = json!({"key": format!("{place}/{resets}/{number}"), "holder": "b"});
                let body = body.to_string();
                let request = format!(
                    "POST /v1/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let address = &cluster.members[place].client_address;
                let mut stream = TokioEnv.connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                if resets {
                    stream.set_zero_linger().unwrap();
                }
            }
        }
        // It is heard after them.
        cluster
            .surely(
                place,
                "/v1/acquire",
                &acquire("last", "a", &format!("l{place}")),
            )
            .await;
        let body = json!({"key": "last"});
        cluster.surely(place, "/v1/break", &body).await;
        let address = &cluster.members[place].client_address;
        within(async {
            loop {
                let held = request(address, "GET", "/v1/locks", &Value::Null).await;
                match held {
                    Ok((200, held)) if held["locks"].as_array().is_some_and(Vec::is_empty) => break,
                    _ => sleep(&TokioEnv, Duration::from_millis(20)).await,
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_first() {
    let mut cluster = Cluster::start("hands-over", 3).await;
    cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    for round in 0..3_usize {
        let node = cluster.nodes[round].take().unwrap();
        // The others keep the lock that is held: none of the two ways to stop waits for it.
        let drain = [Drain::Answers, Drain::Locks][round % 2];
        node.handle.shutdown_with(drain);
        within(node.task).await.unwrap();
        stop(node.runtime).await;
        let begin = TokioEnv.monotonic();
        let key = format!("k{round}");
        let asked = (round + 1) % 3;
        cluster
            .surely(asked, "/v1/acquire", &acquire(&key, "bob", &key))
            .await;
        println!("round {round}: {:?}", TokioEnv.monotonic() - begin);
        let node = cluster.node(round as u64 + 1).await;
        cluster.nodes[round] = Some(node);
        cluster.surely(round, "/lock/a", &Value::Null).await;
    }
}

fn voters(view: &Value) -> Vec<u64> {
    let nodes = view["nodes"].as_array().unwrap().iter();
    let voters = nodes.filter(|node| node["role"] == "voter");
    voters.map(|node| node["id"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_of_a_cluster_adds_none_while_it_waits_for_its_locks_to_end() {
    let mut cluster = Cluster::start("draining", 1).await;
    let ask = acquire("a", "alice", "1");
    let held = cluster.surely(0, "/v1/acquire", &ask).await;
    cluster.newcomer().await;
    cluster.begin_to_drain(0).await;
    let new = new_node(&cluster.members[1]);
    let (status, answer) = cluster.ask(0, "/v1/cluster/nodes", &new).await.unwrap();
    assert_eq!((status, &answer["error"]), (409, &json!("conflict")));
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("not now: node 1 stops"), "{message}");
    let (_, view) = cluster.ask(0, "/v1/cluster", &Value::Null).await.unwrap();
    assert_eq!(view["nodes"].as_array().unwrap().len(), 1, "{view}");

    // It still does what it waits for, and is over with that.
    let release = json!({"key": "a", "holder": "alice", "token": held["token"]});
    let (status, released) = cluster.ask(0, "/v1/release", &release).await.unwrap();
    assert_eq!(status, 200, "{released}");
    let node = cluster.nodes[0].take().unwrap();
    within(node.task).await.unwrap();
    stop(node.runtime).await;

    // When it is back, the node is added.
    let back = cluster.node(1).await;
    cluster.nodes[0] = Some(back);
    cluster.change("POST", "/v1/cluster/nodes", &new).await;
}

/// A learner elects nobody, so without the voter no lock could be renewed or released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_voter_waits_for_its_locks_to_end_though_there_is_a_learner() {
    let mut cluster = Cluster::start("draining-voter", 1).await;
    let held = cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    let id = cluster.newcomer().await;
    let new = new_node(&cluster.members[1]);
    cluster.change("POST", "/v1/cluster/nodes", &new).await;
    // It looks before it has joined, and locks nothing.
    let other = cluster
        .surely(1, "/v1/acquire", &acquire("b", "alice", "2"))
        .await;
    let release =
        |key: &str, lock: &Value| json!({"key": key, "holder": "alice", "token": lock["token"]});
    cluster
        .surely(1, "/v1/release", &release("b", &other))
        .await;
    let waits = json!({"key": "a", "holder": "bob", "request_id": "1", "wait_ms": "forever"});
    let learner = cluster.members[1].client_address.clone();
    let waiting = tokio::spawn(async move { post(&learner, "/v1/acquire", &waits).await });
    let leader = cluster.members[0].client_address.clone();
    cluster.has_queued(0, "a").await;
    cluster.begin_to_drain(0).await;
    // What waits there is given up, and not again and again.
    let (status, answer) = within(waiting).await.unwrap().unwrap();
    assert_eq!(status, 503, "{answer}");
    let applied = async |cluster: &Cluster| {
        let (_, view) = cluster.ask(0, "/v1/cluster", &Value::Null).await.unwrap();
        view["last_applied"].as_u64().unwrap()
    };
    let before = applied(&cluster).await;
    sleep(&TokioEnv, Duration::from_millis(300)).await;
    let after = applied(&cluster).await;
    assert!(after - before < 20, "{} entries in 300 ms", after - before);
    let promote = format!("/v1/cluster/nodes/{id}/promote");
    let (status, answer) = request(&leader, "POST", &promote, &Value::Null)
        .await
        .unwrap();
    assert_eq!((status, &answer["error"]), (409, &json!("conflict")));
    // Nor is anything granted to those that ask the learner.
    let newcomer = acquire("b", "bob", "2");
    let (status, answer) = cluster.ask(1, "/v1/acquire", &newcomer).await.unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(!within(async { cluster.nodes[0].as_ref().unwrap().task.is_finished() }).await);

    let release = release("a", &held);
    let (status, released) = cluster.ask(0, "/v1/release", &release).await.unwrap();
    assert_eq!(status, 200, "{released}");
    let node = cluster.nodes[0].take().unwrap();
    within(node.task).await.unwrap();
    stop(node.runtime).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_know_the_secret_are_none() {
    let secret = |text| Some(Secret::new(text).unwrap());
    let ours = secret("that-of-these-nodes");
    let mut cluster = Cluster::start_with("secret", 3, ours.clone()).await;
    let held = cluster
        .surely(2, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    for other in [secret("that-of-other-nodes"), None] {
        cluster.kill(2).await;
        cluster.secret = other;
        cluster.nodes[2] = Some(cluster.node(3).await);
        cluster.waits(2, "no_leader").await;
        // The others hear nothing of it, and go on.
        cluster
            .surely(0, "/v1/acquire", &acquire("b", "bob", "2"))
            .await;
    }
    cluster.kill(2).await;
    cluster.secret = ours;
    cluster.nodes[2] = Some(cluster.node(3).await);
    let seen = cluster.surely(2, "/lock/a", &Value::Null).await;
    assert_eq!(token(&seen), token(&held));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_and_shrinks_while_it_serves() {
    let mut cluster = Cluster::start("members", 3).await;
    let ask = acquire("a", "alice", "1");
    let held = cluster.surely(0, "/v1/acquire", &ask).await;
    let id = cluster.newcomer().await;
    let new = new_node(&cluster.members[3]);
    let view = cluster.change("POST", "/v1/cluster/nodes", &new).await;
    assert_eq!(voters(&view), [1, 2, 3]);
    let promote = format!("/v1/cluster/nodes/{id}/promote");
    let view = cluster.change("POST", &promote, &Value::Null).await;
    assert_eq!(voters(&view), [1, 2, 3, 4]);
    let seen = cluster.surely(3, "/lock/a", &Value::Null).await;
    assert_eq!(token(&seen), token(&held));
    let view = cluster
        .change("POST", "/v1/cluster/leader", &json!({"id": id}))
        .await;
    assert_eq!(view["leader"], id);
    let view = cluster
        .change("DELETE", "/v1/cluster/nodes/1", &Value::Null)
        .await;
    assert_eq!(voters(&view), [2, 3, 4]);
    cluster.kill(0).await;
    cluster.kill(1).await;
    let granted = cluster
        .surely(2, "/v1/acquire", &acquire("b", "bob", "2"))
        .await;
    assert!(token(&granted) > token(&held));
}

impl Cluster {
    /// The node's view of the cluster, once it is as it should be.
    async fn view_when(&self, place: usize, right: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                match self.ask(place, "/v1/cluster", &Value::Null).await {
                    Some((200, view)) if right(&view) => return view,
                    other => println!("node {}: {other:?}", place + 1),
                }
                sleep(&TokioEnv, Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Waits until the node says that it waits for this, and gives what it says. It is not ready, for
    /// the same reason, and its handle says the same.
    async fn waits(&self, place: usize, reason: &str) -> String {
        let is_so = |view: &Value| view["state"]["reason"] == reason;
        let view = self.view_when(place, is_so).await;
        assert_eq!(view["state"]["ready"], false, "{view}");
        let (status, answer) = self
            .ask(place, "/readyz", &Value::Null)
            .await
            .expect("it answers");
        assert_eq!((status, &answer["error"]), (503, &json!("unavailable")));
        assert_eq!(answer["reason"], reason, "{answer}");
        let node = self.nodes[place].as_ref().unwrap();
        let state = node.handle.state().state_at(TokioEnv.monotonic());
        assert_eq!(state.reason.map(|reason| reason.as_str()), Some(reason));
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.starts_with("this node does not serve: "),
            "{answer}"
        );
        message.to_owned()
    }

    async fn is_ready(&self, place: usize) -> Value {
        let view = self
            .view_when(place, |view| view["state"]["ready"] == true)
            .await;
        let (status, _) = self.ask(place, "/readyz", &Value::Null).await.unwrap();
        assert_eq!(status, 200);
        view
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_what_it_waits_for_until_it_serves() {
    let mut cluster = Cluster {
        members: members(3),
        directory: std::env::temp_dir()
            .join(format!("lockwright-cluster-waits-{}", std::process::id())),
        nodes: vec![None, None, None],
        secret: None,
    };
    let first = cluster.node(1).await;
    cluster.nodes[0] = Some(first);
    let text = cluster.waits(0, "not_formed").await;
    assert!(text.contains("node 2: "), "{text}");
    for place in [1, 2] {
        let node = cluster.node(place as u64 + 1).await;
        cluster.nodes[place] = Some(node);
    }
    for place in 0..3 {
        let view = cluster.is_ready(place).await;
        assert_eq!(view["state"]["reason"], Value::Null, "{view}");
    }

    let id = cluster.newcomer().await;
    let text = cluster.waits(3, "not_member").await;
    assert!(text.contains("waits to be added"), "{text}");
    let new = new_node(&cluster.members[3]);
    cluster.change("POST", "/v1/cluster/nodes", &new).await;
    let view = cluster.is_ready(3).await;
    let text = view["state"]["text"].as_str().unwrap();
    assert!(text.contains("is a learner"), "{view}");
    let remove = format!("/v1/cluster/nodes/{id}");
    cluster.change("DELETE", &remove, &Value::Null).await;
    // A node that is removed need not hear of it.
    let is_out = |view: &Value| {
        ["not_member", "no_leader"].contains(&view["state"]["reason"].as_str().unwrap_or_default())
    };
    let view = cluster.view_when(3, is_out).await;
    assert_eq!(view["leader"], Value::Null, "{view}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_leader_is_gone_names_none_and_says_so() {
    let mut cluster = Cluster::start("leaderless", 3).await;
    let view = cluster.is_ready(0).await;
    let leader = usize::try_from(view["leader"].as_u64().unwrap()).unwrap() - 1;
    let (other, last) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.is_ready(last).await;
    let is_up = |view: &Value, place: usize, up: bool| {
        let node = &view["nodes"][place];
        node["up"] == up && (!up || node["heard_ms"].is_u64())
    };
    let all_up = |view: &Value| {
        let lags = view["nodes"].as_array().unwrap().iter();
        let caught_up = lags.filter(|node| node["lag"] == 0).count() >= 2;
        caught_up && (0..3).all(|place| is_up(view, place, true))
    };
    cluster.view_when(leader, all_up).await;
    let hears_leader = |view: &Value| is_up(view, leader, true) && is_up(view, last, true);
    cluster.view_when(last, hears_leader).await;
    cluster.kill(other).await;
    cluster.kill(leader).await;
    let text = cluster.waits(last, "no_leader").await;
    let node = format!("node {}: ", leader + 1);
    assert!(text.contains(&node), "{text}");
    for _ in 0..30 {
        let (_, view) = cluster
            .ask(last, "/v1/cluster", &Value::Null)
            .await
            .unwrap();
        assert_eq!(view["leader"], Value::Null, "{view}");
        sleep(&TokioEnv, Duration::from_millis(20)).await;
    }
    let is_alone = |view: &Value| {
        is_up(view, last, true) && [leader, other].iter().all(|gone| is_up(view, *gone, false))
    };
    cluster.view_when(last, is_alone).await;
    let node = cluster.node(other as u64 + 1).await;
    cluster.nodes[other] = Some(node);
    cluster.is_ready(last).await;
    cluster.is_ready(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_says_so_and_that_it_leads_no_more() {
    let mut cluster = Cluster::start("deserted", 3).await;
    let view = cluster.is_ready(0).await;
    let leader = usize::try_from(view["leader"].as_u64().unwrap()).unwrap() - 1;
    cluster.kill((leader + 1) % 3).await;
    cluster.kill((leader + 2) % 3).await;
    let view = cluster
        .view_when(leader, |view| view["state"]["ready"] == false)
        .await;
    let reason = view["state"]["reason"].as_str().unwrap();
    // It may give up leading by itself.
    assert!(
        ["no_majority", "no_leader", "nothing_agreed"].contains(&reason),
        "{view}"
    );
    cluster
        .view_when(leader, |view| view["leader"] == Value::Null)
        .await;
}

/// Three nodes, of which the third one lost its disk, and was removed and added again.
async fn with_a_node_that_was_rebuilt(name: &str) -> Cluster {
    let mut cluster = Cluster::start(name, 3).await;
    cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    cluster.surely(2, "/lock/a", &Value::Null).await;
    cluster.kill(2).await;
    std::fs::remove_dir_all(cluster.directory.join("3")).unwrap();
    let node = cluster.node(3).await;
    cluster.nodes[2] = Some(node);
    // With one more dead there is no majority: who has forgotten is none.
    cluster.kill(1).await;
    let asked = cluster
        .ask(0, "/v1/acquire", &acquire("b", "bob", "2"))
        .await;
    assert_eq!(asked.expect("it answers").0, 503);
    let node = cluster.node(2).await;
    cluster.nodes[1] = Some(node);
    cluster
        .surely(1, "/v1/acquire", &acquire("b", "bob", "2"))
        .await;
    let asked = cluster.ask(2, "/lock/a", &Value::Null).await;
    assert_eq!(
        asked.expect("it answers").0,
        503,
        "it is refused by the others"
    );
    // Whatever it waits for first, it says what the others refuse it for.
    let is_told = |view: &Value| {
        let text = view["state"]["text"].as_str().unwrap_or_default();
        view["state"]["ready"] == false && text.contains("what it promised is lost")
    };
    cluster.view_when(2, is_told).await;

    cluster
        .change("DELETE", "/v1/cluster/nodes/3", &Value::Null)
        .await;
    cluster.add_again(3).await;
    let seen = cluster.surely(2, "/lock/a", &Value::Null).await;
    assert_eq!(seen["holder"], "alice");
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_does_not_count_until_it_is_added_again() {
    with_a_node_that_was_rebuilt("lost-disk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_rebuilt_is_one_of_a_majority() {
    let mut cluster = with_a_node_that_was_rebuilt("rebuilt").await;
    cluster.kill(0).await;
    cluster
        .surely(2, "/v1/acquire", &acquire("c", "carol", "3"))
        .await;
}

/// Asks every node to remove one, and goes without the answer, until it is removed.
async fn remove_and_go(cluster: &Cluster, id: u64) {
    // A request whose caller goes at once is not even begun. One that stays for longer each time is
    // gone at some time in the middle of it, on a machine of any speed.
    let mut stay = Duration::from_millis(1);
    within(async {
        loop {
            for member in &cluster.members[..2] {
                let address = &member.client_address;
                let asking = async {
                    let mut stream = TokioEnv.connect(address).await?;
                    let asked = format!(
                        "DELETE /v1/cluster/nodes/{id} HTTP/1.1\r\nhost: localhost\r\n\r\n"
                    );
                    stream.write_all(asked.as_bytes()).await?;
                    sleep(&TokioEnv, stay).await;
                    std::io::Result::Ok(())
                };
                asking.await.unwrap();
                sleep(&TokioEnv, Duration::from_millis(300)).await;
                let looked = request(address, "GET", "/v1/cluster", &Value::Null).await;
                let (_, view) = looked.unwrap();
                let nodes = view["nodes"].as_array().unwrap();
                if nodes.iter().all(|node| node["id"] != id) {
                    assert_eq!(voters(&view), [1, 2]);
                    return;
                }
            }
            stay *= 2;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_is_finished_though_its_caller_goes() {
    let mut cluster = Cluster::start("left-alone", 3).await;
    cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    cluster.surely(2, "/lock/a", &Value::Null).await;
    cluster.kill(2).await;
    remove_and_go(&cluster, 3).await;
    // It is forgotten, too: nothing needs to be asked again before it may come with another disk.
    std::fs::remove_dir_all(cluster.directory.join("3")).unwrap();
    let node = cluster.node_of(3, Vec::new()).await;
    cluster.nodes[2] = Some(node);
    cluster.add_again(3).await;
    let seen = cluster.surely(2, "/lock/a", &Value::Null).await;
    assert_eq!(seen["holder"], "alice");
}
