//! A proxy in front of a real engine or registry. It forwards everything, and fails on command. The real
//! parts have the same failures, but a test cannot provoke them at the right moment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

const HEAD_MAX: usize = 64 << 10;
const TLS_HANDSHAKE: u8 = 22;

/// The failure of a proxy instead of forwarding a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Sends the head of a successful response, and then nothing.
    Stall,
    /// Sends this status and message itself.
    Say(u16, &'static str),
    /// Forwards the request, and closes the connection before the response.
    Forget,
    /// Forwards the request and the response, so that a later rule meets the request after it.
    Forward,
}

/// A running proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    rules: Rules,
    /// The tasks of the proxy. They end when the set is dropped.
    _serving: JoinSet<()>,
}

type Rules = Arc<Mutex<Vec<Rule>>>;

#[derive(Debug)]
struct Rule {
    /// The beginning of the first line of the matching requests.
    begins: String,
    manner: Manner,
    left: usize,
    met: usize,
}

#[derive(Clone)]
enum Behind {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Rule {
    fn meet(&mut self) -> Manner {
        self.left -= 1;
        self.met += 1;
        self.manner
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Proxy {
    /// Starts a proxy for each of these engines, at sockets in a directory. Returns their `unix://`
    /// addresses. A failure happens to the first matching request, whichever engine it is for.
    pub(crate) fn of_engines(engines: &[String], directory: &Path) -> Result<(Self, Vec<String>)> {
        let (rules, mut serving, mut addresses) = (Rules::default(), JoinSet::new(), Vec::new());
        for (number, engine) in engines.iter().enumerate() {
            let behind = Behind::Unix(engine.strip_prefix("unix://").context("a socket")?.into());
            let socket = directory.join(format!("{number}.sock"));
            let listener = UnixListener::bind(&socket)?;
            let rules = Arc::clone(&rules);
            serving.spawn(async move {
                while let Ok((caller, _)) = listener.accept().await {
                    serve(caller, behind.clone(), Arc::clone(&rules));
                }
            });
            addresses.push(format!("unix://{}", socket.display()));
        }
        Ok((Self { rules, _serving: serving }, addresses))
    }

    /// Starts a proxy for a registry. It listens on this machine's address in the registry's network, where
    /// the nodes reach it. Returns its `HOST:PORT`.
    pub(crate) async fn of_registry(registry: &str) -> Result<(Self, String)> {
        let registry: SocketAddr = registry.parse()?;
        let SocketAddr::V4(beside) = registry else { anyhow::bail!("{registry} is not of a testbed") };
        let [a, b, c, _] = beside.ip().octets();
        let listener = TcpListener::bind(SocketAddr::from(([a, b, c, 1], 0))).await?;
        let address = listener.local_addr()?.to_string();
        let (rules, mut serving) = (Rules::default(), JoinSet::new());
        let shared = Arc::clone(&rules);
        serving.spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                serve(caller, Behind::Tcp(registry), Arc::clone(&shared));
            }
        });
        Ok((Self { rules, _serving: serving }, address))
    }

    /// Makes the next `times` requests fail in this manner if their first line starts with `begins`.
    pub(crate) fn misbehave(&self, begins: impl Into<String>, manner: Manner, times: usize) {
        self.rules().push(Rule { begins: begins.into(), manner, left: times, met: 0 });
    }

    /// Ends all failures. Returns the number of requests that failed since the last call.
    pub(crate) fn behave(&self) -> usize {
        self.rules().drain(..).map(|rule| rule.met).sum()
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(caller: impl Stream + 'static, behind: Behind, rules: Rules) {
    tokio::spawn(async move {
        // Either side may close the connection at any moment. The proxy then closes the other side.
        let _ = exchange(caller, behind, &rules).await;
    });
}

/// Forwards one request and its response. Then it closes the connection, so that the rules see every
/// request.
async fn exchange(mut caller: impl Stream, behind: Behind, rules: &Rules) -> Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(at) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
        anyhow::ensure!(request.len() < HEAD_MAX, "a head without end");
        anyhow::ensure!(caller.read_buf(&mut request).await? > 0, "hung up");
        // An engine tries TLS first, and would wait long for a response.
        anyhow::ensure!(request[0] != TLS_HANDSHAKE, "not in the clear");
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let manner = {
        let mut rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && head.starts_with(&rule.begins));
        rule.map(Rule::meet)
    };
    match manner {
        Some(Manner::Stall) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
            caller.write_all(head.as_bytes()).await?;
            // The connection stays open until the caller closes it.
            while caller.read_buf(&mut request).await? > 0 {
                request.clear();
            }
            return Ok(());
        }
        Some(Manner::Say(status, message)) => {
            let body =
                serde_json::json!({ "message": message, "errors": [{ "code": "X", "message": message }] });
            let body = body.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            );
            caller.write_all(answer.as_bytes()).await?;
            return Ok(());
        }
        Some(Manner::Forget | Manner::Forward) | None => {}
    }
    let mut behind: Box<dyn Stream> = match behind {
        Behind::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Behind::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    behind.write_all(&request[..end]).await?;
    if !head.to_ascii_lowercase().contains("\r\nupgrade:") {
        behind.write_all(b"\r\nConnection: close").await?;
    }
    behind.write_all(&request[end..]).await?;
    if matches!(manner, Some(Manner::Forward) | None) {
        copy_bidirectional(&mut caller, &mut behind).await?;
        return Ok(());
    }
    // The rest of the request is forwarded. The first byte of the response shows that the request was
    // carried out.
    let mut answer = [0; 1];
    let (mut from, mut to) = tokio::io::split(behind);
    tokio::select! {
        read = from.read(&mut answer) => drop(read?),
        passed = tokio::io::copy(&mut caller, &mut to) => drop(passed?),
    }
    Ok(())
}
