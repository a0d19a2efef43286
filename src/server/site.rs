//! Everything a server serves: the chat, the applications that are hosted beside it, and the Django
//! behind it; and which of them answers a request.

use std::{iter, sync::Arc};

use hyper::{Method, Request, body::Incoming};

use crate::{
    app::{self, App},
    config::{Config, DialectName},
    dialect::{Dialect, Dialects, OwnChat, SystemError, django, start_systems},
    events::{Events, EventsError, SinkSettingsError},
    gateway::{self, Decision, Gateway, Question, TrustError},
    host::{self, Host, HostError},
    http::{
        Response,
        cors::Cors,
        extract::{self, Unreadable},
        ops::{ChatHealth, Ping, Probe},
        serve::serve,
    },
    hub::frames::Encode,
    metrics::Metrics,
    net::Peer,
    python::urls::decode_path,
    random::{self, NoRandomness},
    store::{self, Store, StoreError},
    telemetry::{request::Trail, security::RefusedRequest},
    tls::{Tls, TlsError},
    ws::handshake,
};

use super::mounts::Mounts;

/// Everything that answers requests.
pub struct Site {
    pub app: Arc<App>,
    dialects: Dialects,
    /// The handles of the other dialects that have tables of their own, in the dialects' order.
    others: Vec<Option<Arc<App>>>,
    /// The chats of other systems.
    pub mounts: Mounts,
    /// `None` if nothing is passed on to Django.
    pub gateway: Option<Arc<Gateway>>,
    /// `None` if no application is hosted.
    pub host: Option<Arc<Host>>,
    /// `None` if there is no sink.
    pub events: Option<Events>,
    /// Checks of `/readyz` besides those of the app.
    pub probes: Vec<Probe>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    App(#[from] app::StartError),
    #[error(transparent)]
    Gateway(#[from] TrustError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Sink(#[from] SinkSettingsError),
    #[error("dialect {0}: {1}")]
    System(DialectName, #[source] SystemError),
}

impl From<EventsError> for StartError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Store(error) => error.into(),
            EventsError::Sink(error) => error.into(),
        }
    }
}

impl Site {
    /// Opens the store and starts all that is served.
    ///
    /// # Errors
    /// See [`Site::mount`].
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let dialects = Dialects::of(&config);
        Box::pin(Site::mount(dialects, config)).await
    }

    /// Opens the store and starts all that is served, with these kinds of chat.
    ///
    /// # Errors
    /// When the store or the certificate cannot be used, there is no randomness, or see
    /// [`Site::over`].
    pub async fn mount(dialects: Dialects, config: Config) -> Result<Arc<Self>, StartError> {
        // Ids are made without a second look: see `chat::id`.
        let _: [u8; 1] = random::bytes()?;
        let metrics = Arc::new(Metrics::new());
        // Before the store, which may have to be waited for.
        let tls = Tls::of(&config.server.tls)?;
        let store = store::open(&config, dialects.schema(), Arc::clone(&metrics)).await?;
        // On the heap, so that the futures around it are small.
        Box::pin(Site::over(dialects, store, tls, config, metrics)).await
    }

    /// Starts all that is served, over a store that is open.
    ///
    /// # Errors
    /// When the settings of the layer, of identity, of the collector, of the upstream or of the
    /// workers cannot be used.
    pub async fn over(
        dialects: Dialects,
        store: Arc<dyn Store>,
        tls: Option<Tls>,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StartError> {
        let (peers, encoders) = (django::peers(&config), dialects.encoders());
        let app = App::open(store, tls, config, metrics, peers, encoders).await?;
        let app = Arc::new(app);
        app.metrics.settings_in_force(chosen(&app.config));
        let mut others = Vec::new();
        for own in dialects.own_chats() {
            others.push(match own {
                Some(own) => Some(Arc::new(beside(&app, own, dialects.encoders()).await?)),
                None => None,
            });
        }
        let gateway = Gateway::of(&app.config, app.rollout.clone(), &app.metrics)?;
        let host = Host::open(&app.config, &app.metrics).await?;
        if let Some(host) = &host {
            app.vital.include(host.vital());
        }
        let events = Box::pin(Events::start(&app)).await?;
        // Last, as other processes know of this one from then on.
        app.start().await?;
        for other in others.iter().flatten() {
            other.start().await?;
        }
        let mounts = Box::pin(start_systems(&app)).await;
        let mounts = Mounts::new(mounts.map_err(|(name, error)| StartError::System(name, error))?);
        let probes = [gateway.as_ref().map(upstream), host.as_ref().map(workers)];
        let probes = probes.into_iter().flatten().chain(mounts.probes());
        let of_others = others.iter().flatten().map(chat);
        Ok(Arc::new(Site {
            probes: probes.chain(of_others).collect(),
            app,
            others,
            dialects,
            mounts,
            gateway,
            host,
            events,
        }))
    }

    /// Answers one request; a WebSocket handshake too. Refusals go to the security log.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let peer = request.extensions().get::<Peer>();
        let settings = &self.app.config.server;
        let client = peer.and_then(|peer| peer.client(request.headers(), settings));
        let trail = Trail::new(client, request.uri().clone());
        let mut response = self.dispatch(request, &trail).await;
        if let Some(refused) = response.extensions_mut().remove::<RefusedRequest>() {
            self.app.audit.refused(&refused, &trail);
        }
        response
    }

    async fn dispatch(&self, mut request: Request<Incoming>, trail: &Trail) -> Response {
        let app = &self.app;
        let mounted = self.mounts.find(&mut request);
        if let Some(limits) = &app.limits
            && let Err(throttled) = limits.admit(&mut request, &app.config.server)
        {
            if let Some(mounted) = mounted {
                return mounted.system.throttled(throttled);
            }
            let (dialect, _) = self.dialect(&request);
            let mut response = dialect.throttled(throttled);
            self.cors(&request).mark(response.headers_mut());
            return response;
        }
        if let Some(mounted) = mounted {
            return Box::pin(mounted.answer(app, request, trail)).await;
        }
        if let Some(host) = &self.host {
            if handshake::wants_upgrade(request.headers()) {
                if host.routes().serves(request.uri(), trail.client) {
                    return host::upgrade::answer(Arc::clone(app), host, request, trail).await;
                }
            } else {
                let (method, uri) = (request.method(), request.uri());
                if host
                    .routes()
                    .answers(method, uri, trail.client, &app.config)
                {
                    return Box::pin(host::http::answer(app, host, request, trail)).await;
                }
            }
        }
        if let Some(gateway) = &self.gateway {
            match self.pass_on(gateway, request, trail).await {
                Ok(response) => return response,
                Err(ours) => request = ours,
            }
        }
        if handshake::wants_upgrade(request.headers()) {
            let path = decode_path(request.uri().path());
            let found = self.dialects.of_handshake(&path, request.headers());
            let (dialect, app) = self.with_app(found);
            return dialect.open(app, request, trail).await;
        }
        self.serve(request, trail).await
    }

    /// Answers what Django serves, and what may not be passed on to it after it was read.
    ///
    /// # Errors
    /// The request, if it is to be answered here.
    async fn pass_on(
        &self,
        gateway: &Arc<Gateway>,
        request: Request<Incoming>,
        trail: &Trail,
    ) -> Result<Response, Request<Incoming>> {
        let app = &self.app;
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let Decision::Django(condition) = gateway.decide(method, uri, headers, &app.config) else {
            return Err(request);
        };
        let cors = self.cors(&request);
        match gateway::pass_on(app, gateway, request, condition, trail).await {
            Ok(response) => Ok(response),
            Err(gateway::Refused::Unread(unread)) => Err(unread),
            Err(gateway::Refused::Read(method, read)) => {
                let mut response = self.respond(&method, async { read }, trail).await;
                cors.mark(response.headers_mut());
                Ok(response)
            }
        }
    }

    /// Answers a request here.
    async fn serve(&self, request: Request<Incoming>, trail: &Trail) -> Response {
        let app = &self.app;
        let cors = self.cors(&request);
        let sendable = || self.dialect(&request).0.shared_headers();
        if let Some(response) = cors.preflight(&request, sendable) {
            return response;
        }
        let gateway = self.gateway.as_ref();
        let question = gateway.and_then(|gateway| Question::of(gateway, app, &request));
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        let path = decode_path(head.uri.path());
        let (dialect, own) = self.of_path(&path);
        let mut response = if dialect.takes_stream(&method, &path) {
            let read = async { extract::Request::without_body(head) };
            let answer =
                async |request: &extract::Request| dialect.answer_stream(own, request, body).await;
            serve(app, &method, read, answer, trail).await
        } else {
            let read = extract::Request::read(head, body, &app.bodies);
            self.respond(&method, read, trail).await
        };
        Question::ask(question, app);
        cors.mark(response.headers_mut());
        response
    }

    /// Answers a request once it has been read.
    async fn respond(
        &self,
        method: &Method,
        read: impl Future<Output = Result<extract::Request, Unreadable>>,
        trail: &Trail,
    ) -> Response {
        let answer = async |request: &extract::Request| {
            let (dialect, app) = self.of_path(&request.path);
            dialect.answer(app, &self.probes, request).await
        };
        serve(&self.app, method, read, answer, trail).await
    }

    /// Returns the dialect that answers a request, and the handles of its chat.
    fn dialect<B>(&self, request: &Request<B>) -> (&dyn Dialect, &Arc<App>) {
        self.of_path(&decode_path(request.uri().path()))
    }

    fn of_path(&self, path: &str) -> (&dyn Dialect, &Arc<App>) {
        self.with_app(self.dialects.of_path(path))
    }

    /// Returns a dialect with the handles of its chat.
    fn with_app<'a>(
        &'a self,
        (dialect, place): (&'a dyn Dialect, Option<usize>),
    ) -> (&'a dyn Dialect, &'a Arc<App>) {
        let own = place.and_then(|place| self.others.get(place)?.as_ref());
        (dialect, own.unwrap_or(&self.app))
    }

    /// Returns the handles of every chat, the first dialect's first.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        iter::once(&self.app).chain(self.others.iter().flatten())
    }

    fn cors<B>(&self, request: &Request<B>) -> Cors {
        let allowed = &self.app.config.cors.allowed_origins;
        if allowed.is_empty() {
            return Cors::Off;
        }
        Cors::of(request, allowed, self.dialect(request).0.shared())
    }
}

/// Returns the store, the layer, the identity and the policy that the settings have chosen.
fn chosen(config: &Config) -> [&'static str; 4] {
    let auth = &config.auth;
    [
        config.store.url.database().as_str(),
        config.layer.backend.as_str(),
        auth.identity.as_str(),
        auth.policy.as_str(),
    ]
}

/// Wires the handles of a chat with tables of its own, and opens its store.
async fn beside(app: &App, own: OwnChat, encoders: Vec<Encode>) -> Result<App, StartError> {
    let metrics = Arc::clone(&app.metrics);
    let store = store::open(&app.config, &own.schema, metrics).await?;
    Ok(app.beside(store, own.peers, encoders).await?)
}

/// Asks the store and the layer of a chat with tables of its own.
fn chat(app: &Arc<App>) -> Probe {
    let app = Arc::clone(app);
    let ping: Ping = Box::new(move || {
        let app = Arc::clone(&app);
        Box::pin(async move {
            let ChatHealth {
                store,
                layer,
                repairs,
            } = ChatHealth::of(&app).await;
            store.and(layer).and(repairs)
        })
    });
    Probe {
        name: "chat",
        is_needed: true,
        ping,
    }
}

/// Asks the Django behind the gateway, without which the conversations of this side are served all
/// the same.
fn upstream(gateway: &Arc<Gateway>) -> Probe {
    let gateway = Arc::clone(gateway);
    let ping: Ping = Box::new(move || {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move { gateway.ping().await })
    });
    Probe {
        name: "upstream",
        is_needed: false,
        ping,
    }
}

/// Asks whether workers have joined.
fn workers(host: &Arc<Host>) -> Probe {
    let host = Arc::clone(host);
    let ping: Ping = Box::new(move || {
        let answer = host.ping();
        Box::pin(async { answer })
    });
    Probe {
        name: "workers",
        is_needed: true,
        ping,
    }
}
