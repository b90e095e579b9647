//! How are many askers served at once, with patience for none of them?

use std::{future, io, sync::Arc, time::Duration};

use axum::{Extension, Router};
use axum_server::{Address, Server, accept::Accept};
use hyper_util::rt::TokioTimer;
use nix::unistd::User;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Semaphore,
};
use tower::Layer;

use crate::desired::log::By;

/// Connections at a time of each listener; who comes then is hung up on.
const CONNECTIONS_MAX: usize = 1536;
/// For how long a request's head is waited for, and so how long a connection may be idle.
const HEAD_WAIT: Duration = Duration::from_secs(30);

/// Serves these routes, until the listener fails.
pub async fn serve<A>(server: Server<A>, routes: Router) -> io::Result<()>
where
    A: Address + Send + 'static,
    A::Stream: Peer + Send + tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut server = server.acceptor(Places(places)).http1_only().first_request_timeout(HEAD_WAIT);
    let http1 = &mut server.http_builder().http1();
    http1.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    server.serve(routes.into_make_service()).await
}

/// Takes a connection if there is a place for it.
#[derive(Clone)]
struct Places(Arc<Semaphore>);

impl<Stream: Peer, Service> Accept<Stream, Service> for Places {
    type Stream = Stream;
    type Service = <Extension<Place> as Layer<<Extension<By> as Layer<Service>>::Service>>::Service;
    type Future = future::Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: Stream, service: Service) -> Self::Future {
        let place = self.0.clone().try_acquire_owned();
        future::ready(match place {
            // It is had for as long as the service is, which ends with the connection.
            Ok(place) => {
                let service = Extension(stream.by()).layer(service);
                Ok((stream, Extension(Place { _is_taken: Arc::new(place) }).layer(service)))
            }
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        })
    }
}

/// Who is at the other end?
pub trait Peer {
    /// As the log has it.
    fn by(&self) -> By;
}

impl Peer for UnixStream {
    fn by(&self) -> By {
        let Ok(peer) = self.peer_cred() else { return By::default() };
        let user = User::from_uid(peer.uid().into()).ok().flatten();
        let who = user.map_or_else(|| format!("user {}", peer.uid()), |user| user.name);
        let from = peer.pid().map(|process| format!("process {process}")).unwrap_or_default();
        By { who, how: "the socket's peer".to_owned(), from }
    }
}

impl Peer for TcpStream {
    fn by(&self) -> By {
        let from = self.peer_addr().map(|from| from.to_string()).unwrap_or_default();
        By { who: "anybody".to_owned(), how: "nobody asked".to_owned(), from }
    }
}

#[derive(Clone)]
struct Place {
    _is_taken: Arc<tokio::sync::OwnedSemaphorePermit>,
}
