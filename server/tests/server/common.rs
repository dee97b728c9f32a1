//! A server for a test.

use crate::wire::{answer, send};
use lockwright_env::{TokioEnv, sleep, timeout};
use lockwright_server::{Server, ServerConfig, ServerError, ServerHandle, Usage};
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use tokio::{net::TcpStream, task::JoinHandle};

/// A server that runs.
pub(crate) struct Service {
    pub(crate) address: String,
    pub(crate) handle: ServerHandle,
    pub(crate) task: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    /// One with the defaults, on a port that is free, but for what is changed.
    pub(crate) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Service {
        let mut config = ServerConfig::new("127.0.0.1:0");
        change(&mut config);
        let server = Server::bind(TokioEnv, config).await.unwrap();
        let address = server.local_address().unwrap().to_string();
        let handle = server.handle();
        let task = tokio::spawn(server.run());
        Service {
            address,
            handle,
            task,
        }
    }

    /// Sends a request, and does not wait.
    pub(crate) async fn send(&self, method: &str, target: &str, body: &str) -> TcpStream {
        send(&self.address, method, target, body).await
    }

    /// Sends a request, and gives the status and the body of the answer.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        answer(self.send(method, target, body).await).await
    }

    /// What a `GET` gives.
    pub(crate) async fn get(&self, target: &str) -> (u16, Value) {
        self.ask("GET", target, "").await
    }

    /// What comes of it when JSON is posted.
    pub(crate) async fn post(&self, target: &str, body: Value) -> (u16, Value) {
        self.ask("POST", target, &body.to_string()).await
    }

    /// Asks for a lock that must wait, and comes back when it does.
    pub(crate) async fn queue(&self, mut body: Value, queued: usize) -> TcpStream {
        if body["wait_ms"].is_null() {
            body["wait_ms"] = json!("forever");
        }
        let stream = self.send("POST", "/v1/acquire", &body.to_string()).await;
        self.until(|usage| usage.waiting_calls == queued).await;
        stream
    }

    /// The body that a `GET` gives, which succeeds.
    pub(crate) async fn look_at(&self, target: &str) -> Value {
        let (status, got) = self.get(target).await;
        assert_eq!(status, 200, "{got}");
        got
    }

    /// Waits until it has what is wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Usage) -> bool) {
        within(async {
            while !wanted(&self.handle.usage().await.unwrap()) {
                sleep(&TokioEnv, Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Stops it, and waits until it has.
    pub(crate) async fn stop(self) {
        self.handle.shutdown();
        within(self.task).await.unwrap().unwrap();
    }
}

/// What a future gives, in a time that is enough on any machine.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(&TokioEnv, Duration::from_secs(60), future)
        .await
        .expect("the test hangs")
}
