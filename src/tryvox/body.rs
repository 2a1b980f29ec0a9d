//! The body of a response: a stream of chunks goes in, bounded bytes come out.
//!
//! A page fits into [`LARGE_BODY_THRESHOLD`]. Larger bodies are a sign of a misbehaving API. The memory for them is limited
//! over all accounts, and a request that waits for memory spends none of its timeout.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, FailureReason, root_cause};
use super::timer::RequestTimer;

/// Maximum size of a body, in bytes after decompression.
const MAX_BODY: usize = 16 << 20;

/// Generous upper bound of the size of a page of 100 numbers, in bytes.
const LARGE_BODY_THRESHOLD: usize = 128 << 10;

/// Maximum size of an error response's body that is read, in bytes after decompression.
const MAX_ERROR_BODY: usize = 16 << 10;

/// Time limit for the body of an error response, whose status already says what failed.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Unit in which memory for large bodies is counted, in bytes.
const MEMORY_UNIT: usize = 64 << 10;

/// Memory for large bodies over all accounts, in units. Each body has only what it has received, so bodies that arrive
/// slowly leave room for others.
static MEMORY: Semaphore = Semaphore::const_new((48 << 20) / MEMORY_UNIT);

/// The permit to receive the rest of a large body when the memory is used up. Its holder always completes or times out
/// and frees its memory, so requests never wait for each other.
static RESERVE: Semaphore = Semaphore::const_new(1);

/// The permit of one account to receive a large body. One at a time, so that no account uses up the memory.
#[derive(Debug)]
pub(super) struct LargeBodyPermit(Semaphore);

impl Default for LargeBodyPermit {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

/// The memory that one large body has. Dropping it frees the memory.
struct BodyMemory<'a> {
    _account: Option<SemaphorePermit<'a>>,
    units: u32,
    permits: Vec<SemaphorePermit<'static>>,
    has_reserve: bool,
}

impl<'a> BodyMemory<'a> {
    /// Waits until the account has no other large body.
    async fn new(account: &'a LargeBodyPermit) -> Self {
        // The semaphores are never closed.
        Self { _account: account.0.acquire().await.ok(), units: 0, permits: Vec::new(), has_reserve: false }
    }

    /// Waits until there is memory for a body of this length.
    async fn grow_to(&mut self, length: usize) {
        let missing = u32::try_from(length.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX).saturating_sub(self.units);
        if missing == 0 || self.has_reserve {
            return;
        }
        let (memory, reserve) = (pin!(MEMORY.acquire_many(missing)), pin!(RESERVE.acquire()));
        let permit = match select(memory, reserve).await {
            Either::Left((memory, _)) => {
                self.units += missing;
                memory
            }
            Either::Right((reserve, _)) => {
                self.has_reserve = true;
                reserve
            }
        };
        self.permits.extend(permit.ok());
    }
}

/// The body of a response that is still being received, after decompression.
pub struct ResponseBody(BoxStream<'static, Result<Bytes, Failure>>);

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}

impl From<Bytes> for ResponseBody {
    /// Wraps a body that is complete.
    fn from(body: Bytes) -> Self {
        Self(stream::iter([Ok(body)]).boxed())
    }
}

impl ResponseBody {
    /// Wraps a stream of chunks. An error means that the body is truncated.
    pub fn from_stream<E: Error + 'static>(chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        let truncated = |error: E| {
            let cause = format!("the response is truncated: {}; check the network and any proxy", root_cause(&error));
            Failure::new(FailureReason::Decode, cause)
        };
        Self(chunks.map(move |chunk| chunk.map_err(truncated)).boxed())
    }

    /// Reads the body of a page, at most 16 MiB. The timer stands still while the body waits for memory.
    ///
    /// # Errors
    /// If the body is truncated or too large.
    pub(super) async fn read(mut self, permit: &LargeBodyPermit, timer: &RequestTimer) -> Result<Bytes, Failure> {
        // A body that arrives in one chunk is not copied.
        let (mut first, mut body, mut length, mut memory) = (Bytes::new(), Vec::new(), 0, None);
        while let Some(chunk) = self.0.next().await.transpose()? {
            let is_first = length == 0;
            length += chunk.len();
            if length > MAX_BODY {
                let cause =
                    format!("the response exceeds {} MiB; check that --tryvox.url is the TryVox API", MAX_BODY >> 20);
                return Err(Failure::new(FailureReason::TooLarge, cause));
            }
            if length > LARGE_BODY_THRESHOLD && memory.is_none() {
                memory = Some(timer.stopped(BodyMemory::new(permit)).await);
                // The buffer gets its full size at once, because while one grows, it takes memory twice. It gets it only now,
                // so that requests that wait have none.
                body.reserve_exact(MAX_BODY - body.len());
            }
            if let Some(memory) = &mut memory {
                timer.stopped(memory.grow_to(length)).await;
            }
            if is_first {
                first = chunk;
            } else {
                body.extend_from_slice(&std::mem::take(&mut first));
                body.extend_from_slice(&chunk);
            }
        }
        Ok(if body.is_empty() { first } else { body.into() })
    }

    /// Returns the beginning of the body of an error response: as much as arrives within a second, at most 16 KiB.
    pub(super) async fn read_error(mut self, timer: &RequestTimer) -> Bytes {
        let deadline = timer.deadline().min(Instant::now() + ERROR_BODY_TIMEOUT);
        let mut body = Vec::new();
        {
            let mut read = pin!(async {
                while let Some(Ok(chunk)) = self.0.next().await {
                    body.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR_BODY - body.len())]);
                    if body.len() == MAX_ERROR_BODY {
                        break;
                    }
                }
            });
            // Without the rest of the body there is only less to tell.
            _ = timeout_at(deadline, &mut read).await;
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn body_is_the_same_in_however_many_chunks_it_arrives() {
        let large = vec![7; LARGE_BODY_THRESHOLD + 1];
        for chunks in [
            vec![],
            vec!["".as_bytes(), b""],
            vec![b"one"],
            vec![b"", b"one"],
            vec![b"one", b""],
            vec![b"one", b"two", b"", b"three"],
            vec![&*large],
            vec![b"one", &*large, b"two"],
        ] {
            let expected = chunks.concat();
            let chunks: Vec<_> = chunks.into_iter().map(|chunk| std::io::Result::Ok(chunk.to_vec().into())).collect();
            let body = ResponseBody::from_stream(stream::iter(chunks));
            let timer = RequestTimer::start(Duration::from_secs(10));
            assert!(body.read(&LargeBodyPermit::default(), &timer).await == Ok(expected.into()));
        }
    }
}
