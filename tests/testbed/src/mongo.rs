//! A MongoDB replica set of three, each member on a host of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use crate::claim::Claim;
use crate::host::{Host, Process};
use crate::lan::Lan;
use crate::run::require;
use crate::wait::until;

/// The deadline for a member's start. It takes a second, and a few if the member recovers.
const START: Duration = Duration::from_secs(60);
/// The deadline for an election. A lost primary is replaced in about twelve seconds.
const ELECTION: Duration = Duration::from_secs(60);
/// The deadline for an answer. A member that answers at all takes less.
const ANSWER: Duration = Duration::from_secs(5);

const SET: &str = "muster";
const PARTS: &[(&str, &str)] = &[("ip", "iproute2"), ("nsenter", "util-linux")];
/// The server that `scripts/fetch-mongod` installs.
const MONGOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.muster/cache/mongod");

/// A replica set of three members. Any two of them are a majority.
pub struct Mongo {
    members: Vec<Member>,
    lan: Arc<Lan>,
    claim: Claim,
}

impl Mongo {
    /// Starts three members and waits until they have a primary.
    pub async fn replica_set() -> Result<Self> {
        require(PARTS)?;
        if !Path::new(MONGOD).exists() {
            bail!("mongod is missing: scripts/fetch-mongod");
        }
        let claim = Claim::take().await?;
        let under = claim.directory();
        let lan = Arc::new(Lan::start(claim.id(), &under).await?);
        let starting = (1..=3).map(|number| Member::start(&lan, &under, number));
        let members = futures::future::try_join_all(starting).await?;
        let mongo = Self { members, lan, claim };
        mongo.initiate().await?;
        mongo.primary().await?;
        Ok(mongo)
    }

    /// Returns the replica set that all tests of a binary share. A test that breaks it starts its own. A
    /// test that writes uses a database of its own.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Mongo> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::replica_set).await
    }

    /// Returns the `mongodb://` address that names all members.
    pub fn uri(&self) -> String {
        let hosts: Vec<&str> = self.members.iter().map(Member::address).collect();
        format!("mongodb://{}/?replicaSet={SET}", hosts.join(","))
    }

    /// Returns the members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the member that takes writes now. Waits for the end of an election.
    pub async fn primary(&self) -> Result<&Member> {
        until("a primary", ELECTION, async || {
            for member in &self.members {
                let hello = member.command(doc! { "hello": 1 }).await;
                if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary") == Ok(true)) {
                    return Some(member);
                }
            }
            None
        })
        .await
    }

    /// Ends everything at once, and waits until nothing of the replica set is left. Dropping a replica set
    /// does the same without waiting.
    ///
    /// # Errors
    ///
    /// Fails if something is left.
    pub async fn stop(self) -> Result<()> {
        drop((self.members, self.lan));
        self.claim.release().await
    }

    async fn initiate(&self) -> Result<()> {
        let members = self.members.iter().zip(0_i32..);
        let members: Vec<Bson> =
            members.map(|(member, id)| doc! { "_id": id, "host": &member.address }.into()).collect();
        let first = self.members.first().context("three members were started")?;
        first.command(doc! { "replSetInitiate": { "_id": SET, "members": members } }).await?;
        Ok(())
    }
}

/// A server of the replica set.
pub struct Member {
    lan: Arc<Lan>,
    number: u8,
    host: Host,
    address: String,
    daemon: Mutex<Process>,
}

impl Member {
    async fn start(lan: &Arc<Lan>, under: &Path, number: u8) -> Result<Self> {
        let host = Host::start(&format!("mongo{number}"), under).await?;
        lan.join(&host, octet(number)).await?;
        let daemon = Mutex::new(spawn_daemon(&host)?);
        let address = format!("{}:27017", lan.address(octet(number)));
        let member = Self { lan: Arc::clone(lan), number, host, address, daemon };
        member.answers().await?;
        Ok(member)
    }

    /// Returns the server's `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the server with SIGKILL. Its files stay.
    pub async fn kill(&self) -> Result<()> {
        self.daemon.lock().await.kill(&self.host).await
    }

    /// Sends the server a signal, named without SIG: `STOP`, `CONT`, ….
    pub async fn signal(&self, signal: &str) -> Result<()> {
        self.daemon.lock().await.signal(&self.host, signal).await
    }

    /// Starts the server again after [`Member::kill`], and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        *self.daemon.lock().await = spawn_daemon(&self.host)?;
        self.answers().await
    }

    /// Cuts the power of the whole host: server and network end at once.
    pub fn power_off(&self) {
        self.host.power_off();
    }

    /// Starts the host and its server again after [`Member::power_off`].
    pub async fn power_on(&self) -> Result<()> {
        self.host.power_on().await?;
        self.lan.join(&self.host, octet(self.number)).await?;
        self.restart().await
    }

    async fn answers(&self) -> Result<()> {
        until("the MongoDB server to answer", START, async || {
            let mut daemon = self.daemon.lock().await;
            if !matches!(daemon.exited(), Ok(None)) {
                return Some(Err(anyhow!("mongod ended:\n{}", daemon.last_words())));
            }
            self.command(doc! { "ping": 1 }).await.ok().map(|_| Ok(()))
        })
        .await?
    }

    /// Sends a command to this member, over a connection that ends with the call. A connection must not
    /// outlive its runtime.
    async fn command(&self, command: Document) -> Result<Document> {
        let uri = format!("mongodb://{}/?directConnection=true", self.address);
        timeout(ANSWER, async {
            let client = Client::with_uri_str(uri).await?;
            Ok(client.database("admin").run_command(command).await?)
        })
        .await?
    }
}

/// Returns a member's number in the network, which no host of a testbed has.
fn octet(number: u8) -> u8 {
    20 + number
}

fn spawn_daemon(host: &Host) -> Result<Process> {
    let data: PathBuf = host.directory().join("db");
    std::fs::create_dir_all(&data)?;
    host.spawn(
        "mongod",
        &[
            MONGOD,
            "--replSet",
            SET,
            "--bind_ip_all",
            "--nounixsocket",
            "--dbpath",
            data.to_str().context("the path is plain")?,
            "--wiredTigerCacheSizeGB",
            "1",
        ],
    )
}
