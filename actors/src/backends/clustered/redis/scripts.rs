//! What runs inside Redis. The texts are in `lua/`, each with what it wants and returns.

/// A script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    RenewNode,
    Nodes,
    Leave,
    ClaimShards,
    ReleaseShards,
    Owners,
    PutUsers,
    HoldName,
    ReleaseName,
    OpenMailbox,
    Send,
    Taken,
}

impl Script {
    pub(super) const COUNT: usize = 12;

    /// All of them, each at its own index.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::RenewNode,
        Self::Nodes,
        Self::Leave,
        Self::ClaimShards,
        Self::ReleaseShards,
        Self::Owners,
        Self::PutUsers,
        Self::HoldName,
        Self::ReleaseName,
        Self::OpenMailbox,
        Self::Send,
        Self::Taken,
    ];

    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::RenewNode => include_str!("lua/renew_node.lua"),
            Self::Nodes => include_str!("lua/nodes.lua"),
            Self::Leave => include_str!("lua/leave.lua"),
            Self::ClaimShards => include_str!("lua/claim_shards.lua"),
            Self::ReleaseShards => include_str!("lua/release_shards.lua"),
            Self::Owners => include_str!("lua/owners.lua"),
            Self::PutUsers => include_str!("lua/put_users.lua"),
            Self::HoldName => include_str!("lua/hold_name.lua"),
            Self::ReleaseName => include_str!("lua/release_name.lua"),
            Self::OpenMailbox => include_str!("lua/open_mailbox.lua"),
            Self::Send => include_str!("lua/send.lua"),
            Self::Taken => include_str!("lua/taken.lua"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_at_its_own_index() {
        for (index, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script as usize, index);
        }
    }
}
