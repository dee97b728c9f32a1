//! The nodes that have a link to this one while it leads.

use crate::forward::ToFollower;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::mpsc;

/// The links of other nodes, and when each was heard of.
#[derive(Default)]
pub(super) struct Followers {
    links: BTreeMap<u64, Follower>,
    heard: BTreeMap<u64, Duration>,
}

struct Follower {
    link: u64,
    out: mpsc::Sender<ToFollower>,
}

impl Followers {
    /// A node has a link, in the place of one that it may have had.
    pub(super) fn open(&mut self, node: u64, link: u64, out: mpsc::Sender<ToFollower>) {
        self.links.insert(node, Follower { link, out });
    }

    /// Whether this is the link that counts.
    pub(super) fn is_open(&self, node: u64, link: u64) -> bool {
        self.links.get(&node).is_some_and(|one| one.link == link)
    }

    /// Says something to a node over its link. A node that does not read loses its link.
    pub(super) fn say(&mut self, node: u64, link: u64, message: ToFollower) {
        if self.is_open(node, link) && self.links[&node].out.try_send(message).is_err() {
            self.links.remove(&node);
        }
    }

    /// Says something to all.
    pub(super) fn say_all(&mut self, message: ToFollower) {
        self.links
            .retain(|_, one| one.out.try_send(message).is_ok());
    }

    /// Ends a link.
    pub(super) fn close(&mut self, link: u64) {
        self.links.retain(|_, one| one.link != link);
    }

    /// Ends the link of a node. What it has said and is still on its way is not heard any more.
    pub(super) fn close_node(&mut self, node: u64) {
        self.links.remove(&node);
    }

    /// Ends all links. What was said over them and is still on its way is not heard any more.
    pub(super) fn close_all(&mut self) {
        self.links.clear();
    }

    /// Ends all links, and forgets who was heard of.
    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.heard.clear();
    }

    /// A node was heard of.
    pub(super) fn hear(&mut self, node: u64, now: Duration) {
        self.heard.insert(node, now);
    }

    /// When a node was heard of last; it counts from now on if it never was.
    pub(super) fn heard(&mut self, node: u64, now: Duration) -> Duration {
        *self.heard.entry(node).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_link_was_ended_is_not_heard_until_it_opens_another() {
        let mut followers = Followers::default();
        let (out, mut queue) = mpsc::channel(1);
        followers.open(2, 7, out);
        followers.close_node(3);
        assert!(followers.is_open(2, 7));
        followers.close_node(2);
        assert!(!followers.is_open(2, 7));
        assert!(
            queue
                .try_recv()
                .is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
        );
        followers.open(2, 8, mpsc::channel(1).0);
        assert!(followers.is_open(2, 8) && !followers.is_open(2, 7));
    }
}
