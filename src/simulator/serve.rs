//! The simulated API on a socket.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Simulator;

impl Simulator {
    /// Answers on a socket until `stop`.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let (stream, _) = accepted?;
            // An answer leaves at once, or what is measured is Nagle's algorithm.
            stream.set_nodelay(true)?;
            let (simulator, stop) = (self.clone(), stop.clone());
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let simulator = simulator.clone();
                async move { simulator.answer(request.map(Body::new)).await }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A connection that fails, or is cut on purpose, is the client's matter.
            tokio::spawn(async move { stop.run_until_cancelled(connection).await });
        }
        Ok(())
    }
}
