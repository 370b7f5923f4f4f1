//! A load of HTTP requests over connections that stay open, and its results.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The results of a load.
pub(crate) struct Report {
    /// Responses a second, over all connections.
    pub(crate) per_second: f64,
    /// The median latency.
    pub(crate) p50: Duration,
    /// The 99th percentile of the latency.
    pub(crate) p99: Duration,
    /// The number of responses with another status than the expected one.
    pub(crate) unwanted: u64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>9.0}/s   p50 {:>7.2} ms   p99 {:>7.2} ms",
            self.per_second,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
        )?;
        if self.unwanted > 0 {
            write!(f, "   {} answers were not as wanted", self.unwanted)?;
        }
        Ok(())
    }
}

/// Sends the requests that `request` writes, each with its number, for `lasting` over `connections`.
pub(crate) async fn load(
    to: SocketAddr,
    connections: usize,
    lasting: Duration,
    wanted: u16,
    request: impl Fn(u64) -> String + Send + Sync + 'static,
) -> std::io::Result<Report> {
    let request = Arc::new(request);
    let numbers = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(converse(to, began + lasting, wanted, request.clone(), numbers.clone())))
        .collect();
    let mut took = Vec::new();
    let mut unwanted = 0;
    for task in tasks {
        let (latencies, others) = task.await.map_err(std::io::Error::other)??;
        took.extend(latencies);
        unwanted += others;
    }
    let elapsed = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Report { per_second: took.len() as f64 / elapsed, p50: at(0.5), p99: at(0.99), unwanted })
}

async fn converse(
    to: SocketAddr,
    until: Instant,
    wanted: u16,
    request: Arc<impl Fn(u64) -> String>,
    numbers: Arc<AtomicU64>,
) -> std::io::Result<(Vec<Duration>, u64)> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut unwanted = 0;
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < until {
        let text = request(numbers.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        stream.write_all(text.as_bytes()).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        latencies.push(began.elapsed());
        unwanted += u64::from(status != wanted);
    }
    Ok((latencies, unwanted))
}

/// Reads one response with a `Content-Length`, and returns its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<u16> {
    buffer.clear();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(status)
}
