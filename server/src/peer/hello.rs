//! The handshake: who speaks, to whom, of which cluster, in which version, and from which disk.
//!
//! Before anything else both sides send eight bytes: four that say what this is, and the version. So
//! every version can tell every other one that it does not understand it. Then each says whether the
//! cluster has a secret, which node it is, and what it has drawn for this link. With a secret both prove that they know it, the one
//! that called first: by the HMAC (RFC 2104) of what both have said there and of which side it is, so that no proof is of use
//! later or in the other direction. Who stands between two nodes can pass both proofs on: what follows is not signed. Then the one that called says [`Hello`], and the other one answers.
//! Nothing longer is read of a node that has not proved what it has to.
//!
//! A node whose disk is not the one that it joined with has forgotten its vote and its log: counted
//! as itself it could break what was promised, so nobody listens to it. A node may have been given
//! another disk the right way, and the one that it speaks with has not heard of it yet. So both say where
//! their logs end, and what the logs say of themselves; the log that is
//! further decides. What is applied
//! does not count: after a restart nothing may be, until these two have spoken with each other.

use super::wire;
use crate::{Secret, machine::NodeRecord, proposal::DiskId};
use serde::{Deserialize, Serialize};
use std::{fmt, io, sync::Arc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 4] = *b"LWPL";

/// The version of what nodes say to each other.
const VERSION: u32 = 9;

/// The longest hello and answer to one, in bytes: both are names and numbers.
const HELLO_BYTES_MAX: usize = 4096;

/// Bytes of what a node says of itself first: its number, and what it draws for each link.
const SAID_BYTES: usize = 8 + 32;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Calls of Raft.
    Raft,
    /// Proposals on their way to the leader, and reads.
    Forward,
    /// Nothing but the handshake.
    Look,
}

/// Who a node is.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The name of its cluster.
    pub(crate) cluster: String,
    /// What the nodes of the cluster know, if they must.
    pub(crate) secret: Option<Secret>,
    /// Its id.
    pub(crate) node: u64,
    /// Its disk.
    pub(crate) disk: DiskId,
    /// What is known here of another node.
    pub(crate) known: Arc<dyn Fn(u64) -> Option<NodeRecord> + Send + Sync>,
    /// The term and the index of the last entry of its log. 0 without one: then it is in no cluster yet.
    pub(crate) last_entry: Arc<dyn Fn() -> (u64, u64) + Send + Sync>,
}

/// What the one that called says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hello {
    cluster: String,
    to: u64,
    standing: Standing,
    purpose: Purpose,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Standing {
    disk: DiskId,
    /// The term and the index of the last entry of its log.
    last_entry: (u64, u64),
    /// What the log says of it.
    own: Option<NodeRecord>,
}

impl Standing {
    fn of(identity: &Identity) -> Standing {
        // In this order: what it says of itself may be newer, and never older than this.
        let last_entry = (identity.last_entry)();
        Standing {
            disk: identity.disk,
            last_entry,
            own: (identity.known)(identity.node),
        }
    }
}

/// What the other one answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Answer {
    Welcome(Standing),
    Refused(String),
}

/// What is known of a node that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether it has formed a cluster, or was taken into one.
    pub(crate) is_formed: bool,
    /// Its disk.
    pub(crate) disk: DiskId,
}

/// Says hello to a node that was called.
pub(super) async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    to: u64,
    purpose: Purpose,
) -> io::Result<Known> {
    let hello = Hello {
        cluster: identity.cluster.clone(),
        to,
        standing: Standing::of(identity),
        purpose,
    };
    let ours = Opening::of(identity);
    stream.write_all(&ours.bytes()).await?;
    if !ours.has_secret {
        wire::write(stream, &hello).await?;
    }
    let theirs = Opening::read(stream).await?;
    if let Some(secret) = ours.secret_with(&theirs, identity)? {
        let parts = Proof::OfCaller.parts(&ours, &theirs);
        stream.write_all(&secret.proof(&parts)).await?;
        let mut proof = [0; PROOF_BYTES];
        let read = stream.read_exact(&mut proof).await;
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => refused(format!(
                "node {to} does not take the cluster secret of this node"
            )),
            _ => error,
        })?;
        let parts = Proof::OfCalled.parts(&ours, &theirs);
        if !secret.is_proved(&parts, &proof) {
            return Err(refused(format!(
                "node {to} does not know the cluster secret"
            )));
        }
        wire::write(stream, &hello).await?;
    }
    match wire::read_at_most(stream, HELLO_BYTES_MAX).await? {
        Answer::Welcome(standing) => {
            check_disk(identity, to, standing)?;
            Ok(Known {
                is_formed: standing.last_entry.1 > 0,
                disk: standing.disk,
            })
        }
        Answer::Refused(why) => Err(refused(format!("node {to} refuses: {why}"))),
    }
}

/// Answers the hello of a node. Gives who it is, and what it wants.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
) -> io::Result<(u64, Purpose)> {
    let ours = Opening::of(identity);
    stream.write_all(&ours.bytes()).await?;
    let theirs = Opening::read(stream).await?;
    if let Some(secret) = ours.secret_with(&theirs, identity)? {
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).await?;
        if !secret.is_proved(&Proof::OfCaller.parts(&theirs, &ours), &proof) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it does not know the cluster secret",
            ));
        }
        let parts = Proof::OfCalled.parts(&theirs, &ours);
        stream.write_all(&secret.proof(&parts)).await?;
    }
    let hello: Hello = wire::read_at_most(stream, HELLO_BYTES_MAX).await?;
    let from = theirs.node();
    if let Err(error) = check(identity, from, &hello) {
        wire::write(stream, &Answer::Refused(error.to_string())).await?;
        return Err(error);
    }
    let welcome = Answer::Welcome(Standing::of(identity));
    wire::write(stream, &welcome).await?;
    Ok((from, hello.purpose))
}

fn check(identity: &Identity, from: u64, hello: &Hello) -> io::Result<()> {
    if hello.cluster != identity.cluster {
        return Err(refused(format!(
            "it is of the cluster `{}`, and this node of `{}`",
            hello.cluster, identity.cluster
        )));
    }
    if hello.to != identity.node {
        return Err(refused(format!(
            "it looks for node {}, and this is node {}",
            hello.to, identity.node
        )));
    }
    if from == identity.node {
        return Err(refused(format!(
            "it says that it is node {from}, as this one"
        )));
    }
    check_disk(identity, from, hello.standing)
}

fn check_disk(identity: &Identity, node: u64, standing: Standing) -> io::Result<()> {
    let Standing {
        disk, last_entry, ..
    } = standing;
    let known = if last_entry > (identity.last_entry)() {
        standing.own
    } else {
        (identity.known)(node)
    };
    let Some(known) = known else {
        return Ok(());
    };
    let last_index = last_entry.1;
    let lost = if known.disk != disk {
        format!(
            "has joined with the disk {:?}, and comes with {disk:?}",
            known.disk
        )
    } else if known.acknowledged == u64::MAX {
        "was found to have lost entries that it had acknowledged".to_owned()
    } else if known.acknowledged > last_index {
        format!(
            "has acknowledged entry {}, and comes with a log that ends at {last_index}",
            known.acknowledged
        )
    } else {
        return Ok(());
    };
    Err(refused(format!(
        "node {node} {lost}: what it promised is lost. Remove it from the cluster, and add it again \
         with an empty directory"
    )))
}

/// Bytes of a proof.
const PROOF_BYTES: usize = 32;

/// What both sides say first, behind the eight bytes that every version sends.
struct Opening {
    has_secret: bool,
    said: Said,
}

/// The number of the node, the lowest byte first, and what it has drawn for this link.
type Said = [u8; SAID_BYTES];

impl Opening {
    fn of(identity: &Identity) -> Opening {
        let mut said = [0; SAID_BYTES];
        said[..8].copy_from_slice(&identity.node.to_le_bytes());
        // Nothing is proved without a secret.
        if identity.secret.is_some() {
            getrandom::fill(&mut said[8..]).expect("the system has randomness to give");
        }
        Opening {
            has_secret: identity.secret.is_some(),
            said,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(self.has_secret.into());
        bytes.extend_from_slice(&self.said);
        bytes
    }

    async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Opening> {
        check_preface(stream).await?;
        let mut has_secret = [0];
        stream.read_exact(&mut has_secret).await?;
        let mut said = [0; SAID_BYTES];
        stream.read_exact(&mut said).await?;
        Ok(Opening {
            has_secret: has_secret != [0],
            said,
        })
    }

    /// Which node it is.
    fn node(&self) -> u64 {
        let (node, _) = self.said.split_first_chunk().expect("it begins with that");
        u64::from_le_bytes(*node)
    }

    /// The secret, if both sides have one; an error if only one has.
    fn secret_with<'a>(
        &self,
        theirs: &Opening,
        identity: &'a Identity,
    ) -> io::Result<Option<&'a Secret>> {
        let why = match (self.has_secret, theirs.has_secret) {
            (true, true) if self.said == theirs.said => "it says what this node says",
            (true, true) | (false, false) => return Ok(identity.secret.as_ref()),
            (true, false) => "it has no cluster secret, and this node has one",
            (false, true) => "it has a cluster secret, and this node has none",
        };
        Err(refused(format!("{why} (--cluster-secret-file)")))
    }
}

/// Which side proves something.
#[derive(Clone, Copy)]
enum Proof {
    OfCaller,
    OfCalled,
}

impl Proof {
    /// What is proved to have been said.
    fn parts<'a>(self, caller: &'a Opening, called: &'a Opening) -> [&'a [u8]; 3] {
        let side: &[u8] = match self {
            Proof::OfCaller => b"lockwright link: caller",
            Proof::OfCalled => b"lockwright link: called",
        };
        [side, &caller.said, &called.said]
    }
}

async fn check_preface<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut got = [0; 8];
    stream.read_exact(&mut got).await?;
    let (magic, version) = got.split_at(4);
    if magic != MAGIC {
        return Err(refused(format!(
            "this is not a node of Lockwright: it begins with {}",
            got.escape_ascii()
        )));
    }
    if version != VERSION.to_le_bytes() {
        return Err(refused(format!(
            "the other node speaks the version {}, and this one {VERSION}",
            version
                .iter()
                .rev()
                .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
        )));
    }
    Ok(())
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, why)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} of `{}`, disk {:?}",
            self.node, self.cluster, self.disk
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING_BYTES: usize = 8 + 1 + SAID_BYTES;

    fn identity(node: u64) -> Identity {
        Identity {
            cluster: "c".to_owned(),
            secret: None,
            node,
            disk: DiskId(node),
            known: Arc::new(|_| None),
            last_entry: Arc::new(|| (1, 5)),
        }
    }

    async fn meet(caller: &Identity, to: u64, called: &Identity) -> (io::Result<Known>, bool) {
        let (mut here, mut there) = tokio::io::duplex(1024);
        // A side that gives up closes the link.
        let calling = async move { call(&mut here, caller, to, Purpose::Raft).await };
        let answering = async move { answer(&mut there, called).await };
        let (known, answered) = tokio::join!(calling, answering);
        (known, answered.is_ok())
    }

    #[tokio::test]
    async fn nodes_of_one_cluster_meet() {
        let (known, answered) = meet(&identity(1), 2, &identity(2)).await;
        let expected = Known {
            is_formed: true,
            disk: DiskId(2),
        };
        assert_eq!(known.unwrap(), expected);
        assert!(answered);
    }

    #[tokio::test]
    async fn what_does_not_belong_is_refused_with_a_reason() {
        let mut other = identity(1);
        other.cluster = "d".to_owned();
        let (known, answered) = meet(&other, 2, &identity(2)).await;
        assert!(!answered && known.unwrap_err().to_string().contains("cluster `d`"));
        let (known, _) = meet(&identity(1), 3, &identity(2)).await;
        assert!(known.unwrap_err().to_string().contains("this is node 2"));
        let (known, _) = meet(&identity(2), 2, &identity(2)).await;
        assert!(known.unwrap_err().to_string().contains("as this one"));
    }

    #[tokio::test]
    async fn with_a_secret_only_those_meet_that_know_it() {
        let knows = |node, secret: Option<&str>| Identity {
            secret: secret.map(|text| Secret::new(text).unwrap()),
            ..identity(node)
        };
        let (ours, other) = (Some("0123456789abcdef"), Some("0123456789abcdeg"));
        let (known, answered) = meet(&knows(1, ours), 2, &knows(2, ours)).await;
        assert!(known.is_ok() && answered);
        for (caller, called, expected) in [
            (ours, other, "does not take the cluster secret"),
            (ours, None, "it has no cluster secret"),
            (None, ours, "it has a cluster secret"),
        ] {
            let (known, answered) = meet(&knows(1, caller), 2, &knows(2, called)).await;
            let error = known.unwrap_err().to_string();
            assert!(!answered && error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn what_was_said_on_a_link_proves_nothing_on_another_one() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let knows = |node| Identity {
            secret: Some(secret.clone()),
            ..identity(node)
        };
        // All that node 1 said to node 2 once.
        let (mut here, mut there) = tokio::io::duplex(1024);
        let (node_1, node_2) = (knows(1), knows(2));
        let calling = call(&mut here, &node_1, 2, Purpose::Look);
        let overhearing = async {
            let mut opening = vec![0; OPENING_BYTES];
            there.read_exact(&mut opening).await.unwrap();
            there
                .write_all(&Opening::of(&node_2).bytes())
                .await
                .unwrap();
            let mut proof = vec![0; PROOF_BYTES];
            there.read_exact(&mut proof).await.unwrap();
            drop(there);
            (opening, proof)
        };
        let (_, (opening, proof)) = tokio::join!(calling, overhearing);
        let (mut here, mut there) = tokio::io::duplex(1024);
        here.write_all(&[opening, proof].concat()).await.unwrap();
        let error = answer(&mut there, &node_2).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        // Nor what the other side has said itself.
        let (mut here, mut there) = tokio::io::duplex(1024);
        let mirroring = async {
            let mut said = [0; OPENING_BYTES];
            here.read_exact(&mut said).await.unwrap();
            here.write_all(&said).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answer(&mut there, &node_2), mirroring);
        assert!(
            answered
                .unwrap_err()
                .to_string()
                .contains("says what this node says")
        );
    }

    #[tokio::test]
    async fn a_long_hello_is_not_read() {
        let (mut here, mut there) = tokio::io::duplex(1 << 16);
        let called = identity(2);
        here.write_all(&Opening::of(&called).bytes()).await.unwrap();
        here.write_all(&(60_u32 << 20).to_le_bytes()).await.unwrap();
        let error = answer(&mut there, &called).await.unwrap_err();
        assert!(error.to_string().contains("a frame of"), "{error}");
    }

    #[tokio::test]
    async fn who_lost_something_is_refused() {
        let mut remembers = identity(2);
        let known = |disk, acknowledged| NodeRecord {
            disk,
            acknowledged,
            life: None,
        };
        remembers.known = Arc::new(move |_| Some(known(DiskId(7), 0)));
        let (answer, answered) = meet(&identity(1), 2, &remembers).await;
        assert!(!answered && answer.unwrap_err().to_string().contains("disk"));
        let (answer, _) = meet(&remembers, 1, &identity(1)).await;
        assert!(answer.unwrap_err().to_string().contains("disk"));
        for (acknowledged, what) in [(6, "ends at 5"), (u64::MAX, "was found")] {
            remembers.known = Arc::new(move |_| Some(known(DiskId(1), acknowledged)));
            let (answer, _) = meet(&identity(1), 2, &remembers).await;
            assert!(answer.unwrap_err().to_string().contains(what));
        }
        remembers.known = Arc::new(move |_| Some(known(DiskId(1), 5)));
        let (answer, _) = meet(&identity(1), 2, &remembers).await;
        assert!(answer.is_ok());
    }

    #[tokio::test]
    async fn who_is_further_knows_whether_a_disk_was_replaced() {
        let known = |disk| NodeRecord {
            disk: DiskId(disk),
            acknowledged: 0,
            life: None,
        };
        let (mut remembers, mut rebuilt) = (identity(2), identity(1));
        remembers.known = Arc::new(move |_| Some(known(7)));
        for (last, own, is_heard) in [
            ((1, 6), None, true),
            ((1, 6), Some(known(1)), true),
            ((2, 4), Some(known(1)), true),
            // It gets the log again, in which it still has the former disk.
            ((1, 6), Some(known(7)), false),
            ((1, 5), Some(known(1)), false),
            ((0, 6), Some(known(1)), false),
            ((1, 4), None, false),
        ] {
            rebuilt.last_entry = Arc::new(move || last);
            rebuilt.known = Arc::new(move |node| own.filter(|_| node == 1));
            let (answer, _) = meet(&rebuilt, 2, &remembers).await;
            assert_eq!(answer.is_ok(), is_heard, "{last:?} {own:?}");
            let (answer, _) = meet(&remembers, 1, &rebuilt).await;
            assert_eq!(answer.is_ok(), is_heard, "{last:?} {own:?}");
        }
    }

    #[tokio::test]
    async fn another_version_and_another_program_are_refused() {
        for (bytes, what) in [
            (*b"LWPL\x01\0\0\0", "version 1"),
            (*b"GET / HT", "not a node"),
        ] {
            let (mut here, mut there) = tokio::io::duplex(1024);
            here.write_all(&bytes).await.unwrap();
            let error = answer(&mut there, &identity(2)).await.unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
