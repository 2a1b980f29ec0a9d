//! Response bodies that keep their request in flight and reach the connection in chunks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::connection_tracker::RequestInFlight;

/// Maximum size of a chunk, in bytes. Between two chunks the connection shows whether the client still reads.
const MAX_CHUNK_SIZE: usize = 64 << 10;

/// A response body; its request is in flight until the body is dropped.
pub(super) struct TrackedBody {
    body: Body,
    /// What is left of the last frame of `body`.
    remaining: Bytes,
    _request: RequestInFlight,
}

impl TrackedBody {
    /// Returns the body of the response to `request`.
    pub(super) fn new(body: Body, request: RequestInFlight) -> Self {
        Self { body, remaining: Bytes::new(), _request: request }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.remaining.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.remaining = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.remaining.len().min(MAX_CHUNK_SIZE);
        Poll::Ready(Some(Ok(Frame::data(self.remaining.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(length) => SizeHint::with_exact(length + self.remaining.len() as u64),
            None => SizeHint::default(),
        }
    }
}
