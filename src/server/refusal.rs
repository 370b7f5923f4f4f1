//! The refusals that the HTTP library writes by itself, because a request's head is malformed or too long. They have no
//! body, so the stream puts a problem document in their place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_edge::Problem;
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The bytes of a refused request that are read and dropped. A client that still sends when the connection closes
/// would not see the answer.
const DRAINED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The time for the client to send these bytes.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// A connection on which each refusal without a body becomes a problem document.
pub(super) struct ProblemStream {
    inner: TcpStream,
    /// The rest of a problem document that is being written.
    unsent: Vec<u8>,
}

impl ProblemStream {
    pub(super) fn new(inner: TcpStream) -> Self {
        Self { inner, unsent: Vec::new() }
    }

    /// Closes the connection after a refusal, when the client has sent the rest of its request.
    pub(super) async fn close(self) {
        let mut stream = self.inner;
        let closing = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(DRAINED_BYTES_MAX), &mut tokio::io::sink()).await
        };
        // A client that went away needs no answer.
        let _ = timeout(DRAIN_DEADLINE, closing).await;
    }
}

impl AsyncRead for ProblemStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ProblemStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent.is_empty() {
            match bare_refusal(bytes) {
                Some(status) => self.unsent = problem(status),
                None => return Pin::new(&mut self.inner).poll_write(cx, bytes),
            }
        }
        let Self { inner, unsent } = &mut *self;
        while !unsent.is_empty() {
            let written = ready!(Pin::new(&mut *inner).poll_write(cx, unsent))?;
            unsent.drain(..written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match parts {
            [first, ..] if !self.unsent.is_empty() || bare_refusal(first).is_some() => {
                self.poll_write(cx, first)
            }
            parts => Pin::new(&mut self.inner).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Returns the status if the bytes are a refusal without a body. The refusals of our routes all have one.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?.strip_suffix(b"\r\n\r\n")?;
    let status = StatusCode::from_bytes(head.get(..3)?).ok().filter(StatusCode::is_client_error)?;
    let head = str::from_utf8(head).ok()?.to_ascii_lowercase();
    (head.contains("\r\ncontent-length: 0") && !head.contains("\r\ncontent-type:")).then_some(status)
}

fn problem(status: StatusCode) -> Vec<u8> {
    let detail = match status {
        StatusCode::URI_TOO_LONG => "The address of the request is longer than 64 KiB.",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "The address and the headers of the request are longer than 64 KiB, or there are more than 100 headers."
        }
        _ => "The head of the request is not HTTP/1.1.",
    };
    // A document of plain texts can always be written.
    let body = serde_json::to_string(&Problem::new(status, detail)).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
