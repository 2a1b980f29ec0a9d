//! What each connection is doing, so that those that do nothing cost only themselves.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What a client gets for its TLS handshake and the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may go without asking again; longer than Prometheus keeps a connection.
const IDLE: Duration = Duration::from_mins(6);
/// How long a client may take nothing of its answer.
const STALLED: Duration = Duration::from_secs(30);
/// How often a connection's state is looked at, at least; shorter than any of the above.
const LOOK: Duration = Duration::from_secs(5);

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    activities: HashMap<u64, Arc<Activity>>,
}

/// A connection's place among them, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub(super) activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().activities.remove(&self.number);
    }
}

impl Connections {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// A place for one more connection. Where all are taken, one loses its own: first one that never
    /// asked, the longest of them, then one that asked before, then one that takes its answer too slowly.
    /// None where all are being answered.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.lock();
        if open.activities.len() >= self.max {
            let idle = open.activities.iter().filter_map(|(number, activity)| Some((activity.idleness()?, *number)));
            let (_, number) = idle.min()?;
            let activity = open.activities.remove(&number)?;
            activity.shed.cancel();
        }
        let (number, activity) = (open.next, Arc::new(Activity::new()));
        open.next += 1;
        open.activities.insert(number, activity.clone());
        Some(Place { connections: self.clone(), number, activity })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    shed: CancellationToken,
}

/// What is lost with a connection, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Idleness {
    /// It never asked.
    Silent,
    /// It asked before, and may again.
    Asked,
    /// It takes its answer so slowly that nobody would wait for it.
    Slow,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    answering: usize,
    /// Since when what was written waits for the client to take it.
    sending: Option<Instant>,
    /// Since when a request is awaited, or one is answered.
    since: Instant,
    /// Whether its head has begun to come.
    begun: bool,
    /// Whether more came while a request was being answered.
    ahead: bool,
    /// Whether a request came before.
    asked: bool,
}

impl State {
    fn is_busy(&self) -> bool {
        self.answering > 0 || self.sending.is_some()
    }

    /// The answer is out, or there was none: from now on a request is awaited.
    fn await_request(&mut self) {
        if !self.is_busy() {
            self.since = Instant::now();
            self.begun = self.ahead;
            self.ahead = false;
        }
    }
}

impl Activity {
    fn new() -> Self {
        let since = Instant::now();
        let state = State { answering: 0, sending: None, since, begun: false, ahead: false, asked: false };
        Self { state: Mutex::new(state), shed: CancellationToken::new() }
    }

    /// Ends when the client has had its time, or its place is needed.
    pub(super) async fn over(&self) {
        let overdue = async {
            loop {
                let now = Instant::now();
                let deadline = self.deadline();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return;
                }
                sleep_until(deadline.map_or(now + LOOK, |deadline| deadline.min(now + LOOK))).await;
            }
        };
        self.shed.run_until_cancelled(overdue).await;
    }

    /// Whether nothing of a request has come yet, and nothing is owed.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.lock();
        !state.is_busy() && !state.begun
    }

    /// A request came; it is being answered until what is returned is dropped, and where its answer is
    /// `flushed` before the next one is awaited, until that is done.
    pub(super) fn answer(self: &Arc<Self>, flushed: bool) -> Answering {
        let mut state = self.lock();
        if !state.is_busy() {
            state.since = Instant::now();
        }
        state.answering += 1;
        (state.begun, state.ahead, state.asked) = (false, false, true);
        Answering { activity: self.clone(), flushed }
    }

    /// When the client's time is over; while its answer is being made it has all that it takes.
    fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.sending {
            Some(since) => Some(since + STALLED),
            None if state.answering > 0 => None,
            None => Some(state.since + if state.begun || !state.asked { HEAD } else { IDLE }),
        }
    }

    /// How little it would lose with its place, and since when that is so; none where it has a right to it.
    fn idleness(&self) -> Option<(Idleness, Instant)> {
        let state = self.lock();
        let idleness = match (state.is_busy(), state.asked) {
            (true, _) if state.since.elapsed() < STALLED => return None,
            (true, _) => Idleness::Slow,
            (false, true) => Idleness::Asked,
            (false, false) => Idleness::Silent,
        };
        Some((idleness, state.since))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Arc<Activity>,
    flushed: bool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.answering -= 1;
        if self.flushed {
            state.sending.get_or_insert(Instant::now());
        }
        state.await_request();
    }
}

/// A connection that is watched: it tells its activity what comes and goes.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Whether what comes is the begin of a request: not so where requests are multiplexed.
    reads_heads: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, reads_heads: bool) -> Self {
        Self { stream, activity, reads_heads }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.reads_heads && read.is_ready() && buf.filled().len() > before {
            let mut state = self.activity.lock();
            if state.is_busy() {
                state.ahead = true;
            } else if !state.begun {
                state.begun = true;
                // The first has to be there some time after the connection.
                if state.asked {
                    state.since = Instant::now();
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// What was written is on its way to a client that may take it or not.
    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        let mut state = self.activity.lock();
        if written.is_ready() || state.sending.is_none() {
            state.sending = Some(Instant::now());
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let mut state = self.activity.lock();
        // The writer flushes when it has nothing left to write.
        if flushed.is_ready() && state.sending.take().is_some() {
            state.await_request();
        }
        drop(state);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    /// How long a connection lasts of which this is done, if it is ended at all.
    async fn lasts(activity: &Activity) -> Option<Duration> {
        let start = Instant::now();
        timeout(Duration::from_hours(1), activity.over()).await.ok().map(|()| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_limit() {
        let connections = Connections::new(10);
        let place = connections.admit().unwrap();
        assert_eq!(lasts(&place.activity).await, Some(HEAD), "for its first request");

        let place = connections.admit().unwrap();
        let answering = place.activity.answer(false);
        assert_eq!(lasts(&place.activity).await, None, "while its answer is made");
        drop(answering);
        assert_eq!(lasts(&place.activity).await, Some(IDLE), "for another request");

        let place = connections.admit().unwrap();
        let answering = place.activity.answer(true);
        drop(answering);
        assert_eq!(lasts(&place.activity).await, Some(STALLED), "for its answer to be taken");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_lose_the_least_give_way() {
        let connections = Connections::new(4);
        let [silent, half, asked, busy] = std::array::from_fn(|_| connections.admit().unwrap());
        drop(asked.activity.answer(false));
        let answering = busy.activity.answer(false);
        advance(Duration::from_secs(1)).await;
        let shed = |place: &Place| place.activity.shed.is_cancelled();
        let mut new = Vec::new();
        for expected in [&silent, &half, &asked] {
            assert!(!shed(expected));
            let place = connections.admit().unwrap();
            assert!(shed(expected));
            // It asks at once.
            new.push((place.activity.answer(false), place));
        }
        assert!(connections.admit().is_none(), "all are being answered");
        advance(STALLED).await;
        let place = connections.admit().unwrap();
        assert!(shed(&busy), "it took too long");
        drop((answering, busy, place));
        assert!(connections.admit().is_some(), "its place is free");
        assert_eq!(connections.lock().activities.len(), 3);
    }
}
