//! A server for a test.

use lockwright_env::{TokioEnv, sleep, timeout};
use lockwright_server::{Server, ServerConfig, ServerError, ServerHandle, Usage};
use std::{future::Future, time::Duration};
use tokio::task::JoinHandle;

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
