//! Several servers as one: three nodes on real sockets and real disks.

#[expect(dead_code, reason = "a cluster is not one service")]
mod common;

use common::within;
use lockwright_env::{Env, TokioEnv, sleep, timeout};
use lockwright_server::{ClusterConfig, Member, Server, ServerConfig, ServerHandle, Storage};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};
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
}

/// A node, in a runtime of its own: what it has started dies with it.
struct Node {
    handle: ServerHandle,
    task: JoinHandle<()>,
    runtime: Runtime,
}

impl Cluster {
    async fn start(name: &str, count: u64) -> Cluster {
        let mut members = Vec::new();
        for id in 1..=count {
            members.push(Member {
                id,
                address: free_address().await,
                client_address: free_address().await,
            });
        }
        let directory =
            std::env::temp_dir().join(format!("lockwright-cluster-{name}-{}", std::process::id()));
        let mut cluster = Cluster {
            members,
            directory,
            nodes: Vec::new(),
        };
        for id in 1..=count {
            let node = cluster.node(id).await;
            cluster.nodes.push(Some(node));
        }
        cluster
    }

    async fn node(&self, id: u64) -> Node {
        let member = &self.members[usize::try_from(id).unwrap() - 1];
        let mut config = ServerConfig::new(member.client_address.clone());
        config.storage = Storage::Directory(self.directory.join(id.to_string()));
        let listen = member.address.clone();
        let mut cluster = ClusterConfig::new(id, listen, self.members.clone());
        cluster.heartbeat = Duration::from_millis(50);
        cluster.election_timeout = Duration::from_millis(300);
        config.cluster = Some(cluster);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let binding = runtime.spawn(Server::bind(TokioEnv, config));
        let server = binding.await.unwrap().unwrap();
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
async fn stop(runtime: Runtime) {
    let stopping = move || runtime.shutdown_timeout(Duration::from_secs(5));
    tokio::task::spawn_blocking(stopping).await.unwrap();
}

async fn free_address() -> String {
    use lockwright_env::Listener;
    let listener = TokioEnv.listen("127.0.0.1:0").await.unwrap();
    listener.local_address().unwrap().to_string()
}

async fn post(address: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let mut stream = TokioEnv.connect(address).await?;
    let body = body.to_string();
    let (method, body) = match body.as_str() {
        "null" => ("GET", String::new()),
        _ => ("POST", body),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
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
        sleep(&TokioEnv, Duration::from_millis(300)).await;
        let body = json!({"key": "a", "token": token(&held)});
        cluster.surely(2, "/v1/release", &body).await
    };
    let (granted, _) = tokio::join!(waiting, releasing);
    assert!(token(&granted) > token(&held));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_first() {
    let mut cluster = Cluster::start("hands-over", 3).await;
    cluster
        .surely(0, "/v1/acquire", &acquire("a", "alice", "1"))
        .await;
    for round in 0..3_usize {
        let node = cluster.nodes[round].take().unwrap();
        node.handle.shutdown();
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
