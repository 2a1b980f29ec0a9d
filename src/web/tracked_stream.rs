//! A stream that reports its reads and writes to a [`ConnectionTracker`] and changes nothing about them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_tracker::ConnectionTracker;

/// A connection's stream whose reads and writes are tracked.
#[derive(Debug)]
pub(super) struct TrackedStream<S> {
    stream: S,
    tracker: Arc<ConnectionTracker>,
    /// HTTP/2 multiplexes requests, so bytes read do not show that a request has begun.
    is_http2: bool,
}

impl<S> TrackedStream<S> {
    /// Returns a stream that reports to `tracker`.
    pub(super) fn new(stream: S, tracker: Arc<ConnectionTracker>, is_http2: bool) -> Self {
        Self { stream, tracker, is_http2 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled_before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.is_http2 && result.is_ready() && buf.filled().len() > filled_before {
            self.tracker.record_read();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.tracker.record_write(result.is_ready());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.tracker.record_write(result.is_ready());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // The writer flushes when it has nothing left to write.
        if result.is_ready() {
            self.tracker.record_flush();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
