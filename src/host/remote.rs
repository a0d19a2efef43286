//! Workers that join by TCP, which prove that they know a secret.

use std::{future, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};

use super::{Host, HostError, link, pool::BACKOFF, proof::Challenge};
use crate::config::{self, Bind, Secret};

/// Connections by TCP at once, joined or not.
const CONNECTIONS: usize = 1024;

/// Listener for workers that join by TCP.
pub struct RemotePlace {
    listener: TcpListener,
    secret: Secret,
}

impl RemotePlace {
    /// Listens where the settings say, if they do.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn bind(settings: &config::Host) -> Result<Option<Self>, HostError> {
        let (Some(Bind::Tcp(address)), Some(secret)) = (&settings.listen, &settings.secret) else {
            return Ok(None);
        };
        let listen = |error| HostError::Listen {
            address: *address,
            error,
        };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let at: SocketAddr = listener.local_addr().map_err(listen)?;
        tracing::info!("workers may join at {at}");
        if !at.ip().is_loopback() {
            tracing::warn!("what crosses {at} is not encrypted: let it be a network of your own");
        }
        let secret = secret.clone();
        Ok(Some(RemotePlace { listener, secret }))
    }
}

/// Lets workers join; never returns.
pub async fn accept(host: &Arc<Host>, place: Option<RemotePlace>) {
    let Some(place) = place else {
        return future::pending().await;
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match place.listener.accept().await {
            Ok((stream, _)) => {
                let (host, secret) = (Arc::clone(host), place.secret.clone());
                tokio::spawn(async move {
                    serve(host, stream, &secret).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a worker could not join");
                sleep(BACKOFF).await;
            }
        }
    }
}

async fn serve(host: Arc<Host>, stream: TcpStream, secret: &Secret) {
    // Calls are small, and each is waited for.
    let prepared = stream.set_nodelay(true).map_err(|error| error.to_string());
    let challenge = Challenge::new(secret).map_err(|error| error.to_string());
    match prepared.and(challenge) {
        Ok(challenge) => {
            let number = host.number();
            link::serve(host, number, stream.into_split(), Some(challenge)).await;
        }
        Err(error) => tracing::warn!(error, "a worker could not join"),
    }
}
