//! Opening links.

use super::hello::{self, Identity, Known, Purpose};
use lockwright_env::{Env, timeout};
use std::{io, time::Duration};
use tokio::io::BufReader;

/// A link that is open. What is read is buffered.
pub(crate) type Link<E> = BufReader<<E as Env>::Stream>;

/// Opens links to other nodes.
#[derive(Clone)]
pub(crate) struct Dialer<E> {
    pub(crate) env: E,
    pub(crate) identity: Identity,
    /// How long opening a link may take.
    pub(crate) patience: Duration,
}

impl<E: Env> Dialer<E> {
    /// Opens a link.
    pub(crate) async fn open(
        &self,
        to: u64,
        address: &str,
        purpose: Purpose,
    ) -> io::Result<(Link<E>, Known)> {
        let opening = async {
            let stream = self.env.connect(address).await?;
            let mut link = BufReader::new(stream);
            let known = hello::call(&mut link, &self.identity, to, purpose).await?;
            Ok((link, known))
        };
        let opened = timeout(&self.env, self.patience, opening).await;
        opened.unwrap_or_else(|elapsed| {
            let error = format!("node {to} at {address}: {elapsed}");
            Err(io::Error::new(io::ErrorKind::TimedOut, error))
        })
    }
}
