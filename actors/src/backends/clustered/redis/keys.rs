//! Names of keys, and the texts of values that scripts and this program share.

use chinwag_schema::ids::{NodeId, Term, UserId};

use crate::ports::directory::{NodeLease, Owner};

/// Buckets of users: few enough that a thousand users need few commands, enough that no script takes long.
pub(super) const USER_BUCKETS: usize = 64;

/// The keys under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The ends of the nodes' leases, which life each node has, and when nodes last came or went.
    pub(super) fn nodes(&self) -> [String; 3] {
        ["nodes", "nodes:lives", "nodes:change"].map(|name| format!("{{{}}}:{name}", self.prefix))
    }

    pub(super) fn shards(&self) -> String {
        format!("{{{}}}:shards", self.prefix)
    }

    pub(super) fn user(&self, user: UserId) -> String {
        format!("{}:user:{{{}}}:{user}", self.prefix, user_bucket(user))
    }

    pub(super) fn guest(&self, name: &str) -> String {
        format!("{}:guest:{name}", self.prefix)
    }

    pub(super) fn name(&self, name: &str) -> String {
        format!("{}:name:{name}", self.prefix)
    }

    /// Returns the keys of a mailbox: its stream, and the room left in it.
    pub(super) fn mailbox(&self, node: NodeLease) -> [String; 2] {
        let stream = format!("{}:mailbox:{{{}}}", self.prefix, mailbox_name(node));
        let room = format!("{stream}:room");
        [stream, room]
    }

    pub(super) fn mailboxes(&self) -> String {
        format!("{}:mailboxes", self.prefix)
    }
}

/// Returns the bucket of a user.
pub(super) const fn user_bucket(user: UserId) -> usize {
    // Fibonacci hashing, as for shards: the top 6 bits.
    ((user.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize
}

/// Writes a life of a node as the tables and the users' keys name it.
pub(super) fn lease_text(node: NodeLease) -> String {
    format!("{}:{}", node.node.0, node.incarnation)
}

pub(super) fn parse_lease(text: &str) -> Option<NodeLease> {
    parse_life(text, ':')
}

fn parse_life(text: &str, separator: char) -> Option<NodeLease> {
    let (node, incarnation) = text.split_once(separator)?;
    Some(NodeLease { node: NodeId(node.parse().ok()?), incarnation: incarnation.parse().ok()? })
}

/// Writes a life of a node as mailboxes are named.
pub(super) fn mailbox_name(node: NodeLease) -> String {
    format!("{}.{}", node.node.0, node.incarnation)
}

pub(super) fn parse_mailbox_name(text: &str) -> Option<NodeLease> {
    parse_life(text, '.')
}

pub(super) fn owner_text(owner: Owner) -> String {
    format!("{}:{}", owner.node.0, owner.term.0)
}

pub(super) fn parse_owner(text: &str) -> Option<Owner> {
    let (node, term) = text.split_once(':')?;
    Some(Owner { node: NodeId(node.parse().ok()?), term: Term(term.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use chinwag_schema::ids::{Incarnation, SNOWFLAKE_LOW_BITS};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (node, incarnation) in [(0, 1), (1023, u64::MAX), (7, 0x1234)] {
            let lease = NodeLease { node: NodeId(node), incarnation: Incarnation(incarnation) };
            assert_eq!(parse_lease(&lease_text(lease)), Some(lease));
            assert_eq!(parse_mailbox_name(&mailbox_name(lease)), Some(lease));
            let owner = Owner { node: NodeId(node), term: Term(incarnation) };
            assert_eq!(parse_owner(&owner_text(owner)), Some(owner));
        }
        for bad in ["", ":", "1:", "x:0000000000000001", "1:1", "70000:0000000000000001"] {
            assert_eq!(parse_lease(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_that_a_script_touches_together_have_one_hash_tag() {
        let tag = |key: &str| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
        let keys = Keys::new("chinwag");
        assert!(keys.nodes().iter().all(|key| tag(key) == tag(&keys.shards())));
        let [stream, room] = keys.mailbox(NodeLease { node: NodeId(3), incarnation: Incarnation(9) });
        assert_eq!(tag(&stream), tag(&room));
        let (one, other) =
            (UserId(1), (2..).map(UserId).find(|&user| user_bucket(user) == user_bucket(UserId(1))).unwrap());
        assert_eq!(tag(&keys.user(one)), tag(&keys.user(other)));
    }

    #[test]
    fn users_spread_over_the_buckets() {
        let mut hits = [0u32; USER_BUCKETS];
        for n in 0..6400i64 {
            hits[user_bucket(UserId(n << SNOWFLAKE_LOW_BITS))] += 1;
        }
        assert!(hits.iter().all(|&n| (50..200).contains(&n)), "{hits:?}");
    }
}
