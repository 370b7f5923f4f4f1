//! What is known of a cluster's servers: who leads, who lives, and who failed just now.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::transport::Channel;

use super::{address::ServerHost, call_error::CallError};
use crate::node::proto::gossip::MemberInfo;

/// The states of a cluster's member that matter, by their numbers in the protocol.
const FOLLOWER: i32 = 6;
const LEADER: i32 = 8;
const READ_ONLY: [i32; 2] = [12, 14];

/// The largest number of subscriptions on one connection. EventStoreDB takes 100 calls of one connection and lets
/// further ones wait, and a subscription reads on its connection before it begins.
const SHARED_BY: usize = 50;

/// A connection with a server. Clones are the same connection.
#[derive(Clone)]
pub(super) struct ServerChannel {
    pub(super) channel: Channel,
    /// Counts the clones.
    uses: Arc<()>,
}

/// What is known of the servers.
#[derive(Default)]
pub(super) struct KnownServers {
    /// The connections of the calls that end soon.
    pub(super) channels: BTreeMap<ServerHost, ServerChannel>,
    /// The connections of the subscriptions, which would leave no room for those calls.
    subscribed: BTreeMap<ServerHost, Vec<ServerChannel>>,
    pub(super) leader: Option<ServerHost>,
    /// The servers that live, those first that are best to read from.
    pub(super) alive: Vec<ServerHost>,
    /// The servers that failed just now.
    pub(super) failed: BTreeMap<ServerHost, ServerFailure>,
    /// The moment at which the servers were last asked for the members.
    pub(super) asked: Option<Instant>,
    /// The reason why none of them answered then.
    pub(super) unanswered: Option<CallError>,
}

/// A failure of a server.
pub(super) struct ServerFailure {
    /// The end of the time in which it is not taken for the leader.
    until: Instant,
    /// True if it could not be reached, so that it cannot be read either.
    dead: bool,
}

impl ServerChannel {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, uses: Arc::default() }
    }

    /// Returns the number of its users beside the list that it is in.
    fn uses(&self) -> usize {
        Arc::strong_count(&self.uses) - 1
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.uses, &other.uses)
    }
}

impl KnownServers {
    /// Returns a connection that has room for a subscription.
    pub(super) fn subscription_channel(&mut self, host: &ServerHost) -> Option<ServerChannel> {
        let channels = self.subscribed.get_mut(host)?;
        channels.retain(|channel| channel.uses() > 0);
        channels.iter().find(|channel| channel.uses() < SHARED_BY).cloned()
    }

    pub(super) fn add_subscription_channel(&mut self, host: &ServerHost, channel: ServerChannel) {
        self.subscribed.entry(host.clone()).or_default().push(channel);
    }

    /// Forgets a connection, so that it is not used again.
    pub(super) fn forget(&mut self, host: &ServerHost, channel: &ServerChannel) {
        if self.channels.get(host).is_some_and(|known| known.is(channel)) {
            self.channels.remove(host);
        }
        if let Some(channels) = self.subscribed.get_mut(host) {
            channels.retain(|known| !known.is(channel));
        }
    }

    /// Learns the members from what servers answered. A dead leader that a server still lists counts for nothing.
    pub(super) fn learn(&mut self, members: &[MemberInfo]) {
        self.leader = members.iter().find(|member| self.is_usable_leader(member)).and_then(host_of);
        let rank = |member: &MemberInfo| match member.state {
            LEADER => 0,
            FOLLOWER => 1,
            state if READ_ONLY.contains(&state) => 2,
            _ => 3,
        };
        let mut alive: Vec<&MemberInfo> = members.iter().filter(|member| member.is_alive).collect();
        alive.sort_by_key(|member| rank(member));
        self.alive.clear();
        for host in alive.into_iter().filter_map(host_of) {
            if !self.alive.contains(&host) {
                self.alive.push(host);
            }
        }
    }

    /// Returns the server that is best to read from without a leader.
    pub(super) fn readable(&self) -> Option<ServerHost> {
        let dead = |host: &&ServerHost| self.failure(host).is_some_and(|failure| failure.dead);
        self.alive.iter().find(|host| !dead(host)).cloned()
    }

    pub(super) fn fail(&mut self, host: &ServerHost, time: Duration, dead: bool) {
        self.failed.insert(host.clone(), ServerFailure { until: Instant::now() + time, dead });
        if self.leader.as_ref() == Some(host) {
            self.leader = None;
        }
    }

    pub(super) fn failure(&self, host: &ServerHost) -> Option<&ServerFailure> {
        self.failed.get(host).filter(|failure| failure.until > Instant::now())
    }

    pub(super) fn is_usable_leader(&self, member: &MemberInfo) -> bool {
        let failed = host_of(member).is_none_or(|host| self.failure(&host).is_some());
        member.is_alive && member.state == LEADER && !failed
    }
}

fn host_of(member: &MemberInfo) -> Option<ServerHost> {
    let at = member.http_end_point.as_ref()?;
    Some(ServerHost { host: at.address.clone(), port: at.port.try_into().ok()? })
}
