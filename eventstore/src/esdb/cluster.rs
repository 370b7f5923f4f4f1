//! The servers of one address: which of them is asked, and calls that are repeated until their deadline.
//!
//! Appends need the leader. Reads go to the leader too, so that they see every append; while there is none, they
//! go to any server that lives, because each answers reads at once.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::ProstCodec,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{
    ConnectError,
    address::{ServerAddress, ServerHost},
    call_error::{CallError, CallSubject, CallVerdict, is_reset},
    connector::ServerConnector,
    known_servers::{KnownServers, ServerChannel},
};
use crate::node::proto::{
    gossip::{ClusterInfo, MemberInfo},
    shared::Empty,
};

/// The time after which a call is given up, its repetitions included.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The longest time that one try may take before another server is asked: longer than a commit that times out,
/// shorter than an election.
const TRY_DEADLINE: Duration = Duration::from_secs(5);

/// The longest time that the servers have to name their cluster's members.
const GOSSIP_DEADLINE: Duration = Duration::from_secs(2);

/// The time for which a server is not taken for the leader after it could not be reached. Others may list it as a
/// leader that lives for seconds.
const DEAD: Duration = Duration::from_secs(2);

/// The same after it answered that it does not lead or is not ready.
const DEMOTED: Duration = Duration::from_millis(500);

/// The time after which the servers are asked again for a leader while reads do without one.
const LEADER_SEARCH: Duration = Duration::from_secs(1);

/// The largest answer, in bytes.
const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// What a call needs of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerNeed {
    /// The leader.
    Leader,
    /// The leader, or any server while there is none.
    AnyServer,
}

/// The servers of one address.
pub(super) struct ServerCluster {
    address: ServerAddress,
    connector: ServerConnector,
    authorization: Option<MetadataValue<Ascii>>,
    connection_name: Option<MetadataValue<Ascii>>,
    known: Mutex<KnownServers>,
    /// Held while the servers are asked for their cluster's members, so that one caller asks for all.
    asking: tokio::sync::Mutex<()>,
}

/// A server to call, and the terms of the call.
#[derive(Clone)]
pub(super) struct ChosenServer {
    pub(super) host: ServerHost,
    channel: ServerChannel,
    /// True if the server answers only while it leads.
    pub(super) requires_leader: bool,
    authorization: Option<MetadataValue<Ascii>>,
    connection_name: Option<MetadataValue<Ascii>>,
}

impl ServerCluster {
    pub(super) fn new(address: ServerAddress) -> Result<Self, ConnectError> {
        let connector = ServerConnector::new(&address)?;
        let header = |text: &str| {
            let value = MetadataValue::try_from(text);
            value.map_err(|_| {
                ConnectError::Address("the login or the connection's name has a control character".to_owned())
            })
        };
        let authorization =
            address.login.as_ref().map(|login| header(&login.authorization)).transpose()?.map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let connection_name = address.connection_name.as_deref().map(header).transpose()?;
        Ok(Self {
            address,
            connector,
            authorization,
            connection_name,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn hosts(&self) -> &[ServerHost] {
        &self.address.hosts
    }

    /// Returns true if another server than the one that answers may lead.
    pub(super) fn has_members(&self) -> bool {
        self.address.cluster
    }

    /// Makes a call of one server. Repeats it until it has an answer, its error is final, or [`CALL_DEADLINE`] is
    /// over.
    pub(super) async fn call<T, F>(
        self: &Arc<Self>,
        need: ServerNeed,
        subject: CallSubject,
        call: impl Fn(ChosenServer) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + CALL_DEADLINE;
        let mut pause = RetryPause::default();
        let mut why = format!("the event store gave no answer within {} s", CALL_DEADLINE.as_secs());
        let mut redirected = false;
        loop {
            match timeout_at(deadline, self.choose(need)).await {
                Ok(Ok(chosen)) => {
                    let host = chosen.host.clone();
                    match self.try_once(deadline, subject, &chosen, call(chosen.clone())).await {
                        Ok(answer) => return Ok(answer),
                        Err(CallVerdict::Final(error)) => return Err(error),
                        Err(CallVerdict::Redirected(leader)) => {
                            let other = leader != host && self.follow(&leader);
                            why = format!("the leader {leader} does not lead or does not answer");
                            // At once, unless two servers name each other.
                            if other && !std::mem::replace(&mut redirected, true) {
                                continue;
                            }
                        }
                        Err(CallVerdict::Repeat(cause)) => why = cause,
                    }
                }
                Ok(Err(CallError::Unavailable(cause))) => why = cause,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(CallError::Unavailable(why)),
            }
            if Instant::now() + pause.0 >= deadline {
                return Err(CallError::Unavailable(why));
            }
            pause.wait().await;
            redirected = false;
        }
    }

    /// Makes a call of a server once, within [`TRY_DEADLINE`].
    pub(super) async fn try_once<T>(
        &self,
        deadline: Instant,
        subject: CallSubject,
        server: &ChosenServer,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallVerdict> {
        match timeout_at(deadline.min(Instant::now() + TRY_DEADLINE), call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(self.judge(&server.host, &status, subject)),
            Err(_) => {
                self.disconnect(server);
                let host = &server.host;
                Err(CallVerdict::Repeat(format!("{host} gave no answer within {} s", TRY_DEADLINE.as_secs())))
            }
        }
    }

    /// Chooses a server for a call.
    ///
    /// # Errors
    /// If there is none, or the servers refuse to name their cluster's members.
    pub(super) async fn choose(self: &Arc<Self>, need: ServerNeed) -> Result<ChosenServer, CallError> {
        if let Some(chosen) = self.choose_known(need) {
            if self.known().leader.is_none() {
                self.search_leader();
            }
            return chosen;
        }
        let leaderless = || Err(CallError::Unavailable("the cluster has no leader at present".to_owned()));
        let asked = self.known().asked;
        let _asking = self.asking.lock().await;
        if let Some(chosen) = self.choose_known(need) {
            return chosen;
        }
        // Another caller asked meanwhile, in vain. Those who wait must not ask one after another.
        if self.known().asked != asked {
            return self.known().unanswered.clone().map_or_else(leaderless, Err);
        }
        let members = self.ask_for_members().await?;
        self.known().learn(&members);
        self.choose_known(need).unwrap_or_else(leaderless)
    }

    /// Chooses a server for a subscription, with a connection that is not that of the other calls.
    ///
    /// # Errors
    /// If there is none, or the servers refuse to name their cluster's members.
    pub(super) async fn choose_to_subscribe(self: &Arc<Self>) -> Result<ChosenServer, CallError> {
        let chosen = self.choose(ServerNeed::AnyServer).await?;
        let mut known = self.known();
        let channel = match known.subscription_channel(&chosen.host) {
            Some(channel) => channel,
            None => {
                let channel = self.new_channel(&chosen.host)?;
                known.add_subscription_channel(&chosen.host, channel.clone());
                channel
            }
        };
        drop(known);
        Ok(ChosenServer { channel, ..chosen })
    }

    fn choose_known(&self, need: ServerNeed) -> Option<Result<ChosenServer, CallError>> {
        let mut known = self.known();
        if !self.address.cluster && known.leader.is_none() {
            // The only host. If it is a follower, it names the leader.
            known.leader = self.address.hosts.first().cloned();
        }
        let leader = known.leader.clone();
        drop(known);
        match (leader, need) {
            (Some(leader), need) => {
                // The only host of an address may be a follower without a leader.
                let leads = need == ServerNeed::Leader || self.known().failure(&leader).is_none();
                Some(self.server(leader, leads))
            }
            (None, ServerNeed::Leader) => None,
            (None, ServerNeed::AnyServer) => {
                let readable = self.known().readable();
                readable.map(|host| self.server(host, false))
            }
        }
    }

    /// Asks for a leader beside the reads that do without one, so that they return to it.
    fn search_leader(self: &Arc<Self>) {
        let due = self.known().asked.is_none_or(|asked| asked.elapsed() > LEADER_SEARCH);
        if !due {
            return;
        }
        self.known().asked = Some(Instant::now());
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            let _asking = cluster.asking.lock().await;
            // Without an answer, the next search asks again.
            if let Ok(members) = cluster.ask_for_members().await {
                cluster.known().learn(&members);
            }
        });
    }

    fn server(&self, host: ServerHost, requires_leader: bool) -> Result<ChosenServer, CallError> {
        let mut known = self.known();
        let channel = match known.channels.get(&host) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.new_channel(&host)?;
                known.channels.insert(host.clone(), channel.clone());
                channel
            }
        };
        drop(known);
        Ok(ChosenServer {
            host,
            channel,
            requires_leader,
            authorization: self.authorization.clone(),
            connection_name: self.connection_name.clone(),
        })
    }

    fn new_channel(&self, host: &ServerHost) -> Result<ServerChannel, CallError> {
        let channel = self.connector.channel(host);
        channel.map(ServerChannel::new).map_err(|error| CallError::Unavailable(error.to_string()))
    }

    /// Asks all known servers at once for the members of their cluster, until one knows a leader that lives.
    async fn ask_for_members(&self) -> Result<Vec<MemberInfo>, CallError> {
        let mut hosts = self.address.hosts.clone();
        hosts.extend(self.known().alive.iter().cloned());
        hosts.sort();
        hosts.dedup();
        let mut asked: FuturesUnordered<_> =
            hosts.into_iter().map(|host| self.members_known_to(host)).collect();
        let mut all = Vec::new();
        let mut why = CallError::Unavailable("the address names no host".to_owned());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(members) => {
                    let led = members.iter().any(|member| self.known().is_usable_leader(member));
                    all.extend(members);
                    if led {
                        break;
                    }
                }
                Err(cause) => why = cause,
            }
        }
        let answer = if all.is_empty() { Err(why) } else { Ok(all) };
        let mut known = self.known();
        known.asked = Some(Instant::now());
        known.unanswered = answer.as_ref().err().cloned();
        answer
    }

    async fn members_known_to(&self, host: ServerHost) -> Result<Vec<MemberInfo>, CallError> {
        let server = self.server(host.clone(), false)?;
        match timeout(GOSSIP_DEADLINE, server.members()).await {
            Ok(Ok(members)) => Ok(members),
            Ok(Err(status)) => Err(match self.judge(&host, &status, CallSubject::Log) {
                CallVerdict::Final(error) => error,
                CallVerdict::Repeat(why) => CallError::Unavailable(why),
                CallVerdict::Redirected(_) => {
                    CallError::Unavailable(format!("{host} does not name the members"))
                }
            }),
            Err(_) => {
                self.disconnect(&server);
                let why = format!("{host} gave no answer within {} s", GOSSIP_DEADLINE.as_secs());
                Err(CallError::Unavailable(why))
            }
        }
    }

    /// Judges the error of a call, and remembers a server that does not live or does not lead.
    pub(super) fn judge(&self, host: &ServerHost, status: &Status, subject: CallSubject) -> CallVerdict {
        let user = self.address.login.as_ref().map(|login| login.user.as_str());
        let verdict = CallVerdict::of(status, subject, user);
        if matches!(verdict, CallVerdict::Repeat(_)) {
            // A status with a source was made here, because the connection failed or the call was reset.
            match status.source() {
                Some(_) if is_reset(status) => {}
                Some(_) => self.known().fail(host, DEAD, true),
                None if matches!(status.code(), Code::Unavailable | Code::NotFound) => {
                    self.known().fail(host, DEMOTED, false);
                }
                None => {}
            }
        }
        verdict
    }

    /// Takes `leader` for the leader, unless it failed just now. Returns whether it did.
    pub(super) fn follow(&self, leader: &ServerHost) -> bool {
        let mut known = self.known();
        let usable = known.failure(leader).is_none();
        known.leader = usable.then(|| leader.clone());
        usable
    }

    /// Gives up the connection with a server that does not answer.
    fn disconnect(&self, server: &ChosenServer) {
        let mut known = self.known();
        known.forget(&server.host, &server.channel);
        known.fail(&server.host, DEAD, true);
    }

    #[cfg(test)]
    pub(super) fn has_failed(&self) -> bool {
        !self.known().failed.is_empty()
    }

    fn known(&self) -> MutexGuard<'_, KnownServers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChosenServer {
    /// Returns the request with the headers of this call.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let headers = request.metadata_mut();
        headers.insert(
            "requires-leader",
            MetadataValue::from_static(if self.requires_leader { "true" } else { "false" }),
        );
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        if let Some(name) = &self.connection_name {
            headers.insert("connection-name", name.clone());
        }
        request
    }

    /// Returns the way to call the server, once it takes calls.
    pub(super) async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
    }

    async fn members(&self) -> Result<Vec<MemberInfo>, Status> {
        let path = PathAndQuery::from_static("/event_store.client.gossip.Gossip/Read");
        let codec: ProstCodec<Empty, ClusterInfo> = ProstCodec::default();
        let answer = self.ready().await?.unary(self.request(Empty {}), path, codec).await?;
        Ok(answer.into_inner().members)
    }
}

/// The pause before a repetition, which doubles each time.
pub(super) struct RetryPause(Duration);

impl Default for RetryPause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl RetryPause {
    /// No longer, so that all goes on soon after a leader is there.
    const LONGEST: Duration = Duration::from_millis(500);

    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
