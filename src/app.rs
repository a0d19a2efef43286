//! The handles of one server, wired once and passed down.

use std::sync::Arc;

use crate::{
    auth::{Auth, SetupError},
    config::{Backend, Config, Identity},
    dialect::django::events::Events,
    django::drf::Language,
    gateway::{Gateway, TrustError},
    host::{Host, HostError},
    http::{document::Answers, extract::Bodies},
    hub::Hub,
    layer::{self, ChannelLayer, LayerError, control::Disconnect, events::EventTable},
    limits::Limits,
    metrics::{Metrics, SecurityEvent},
    python::datetime::Zone,
    service::Chat,
    shutdown::Drain,
    store::{self, Store, StoreError},
    telemetry::{
        security::{Audit, Finding, Place},
        trace::{EndpointError, Tracer},
    },
    tls::{Tls, TlsError},
    vital::Vital,
    ws::{origin::RefusedOrigins, protocol::django::event_frame},
};

/// Everything a request needs. There are no globals: two servers fit into one process.
pub struct App {
    pub config: Config,
    pub auth: Arc<Auth>,
    pub chat: Chat,
    pub hub: Arc<Hub>,
    pub store: Arc<dyn Store>,
    pub layer: Arc<dyn ChannelLayer>,
    pub metrics: Arc<Metrics>,
    /// The security log.
    pub audit: Arc<Audit>,
    pub drain: Drain,
    /// The tasks that the process cannot do without.
    pub vital: Vital,
    pub bodies: Bodies,
    pub answers: Answers,
    /// `None` if nothing is passed on to Django.
    pub gateway: Option<Arc<Gateway>>,
    /// `None` if no application is hosted.
    pub host: Option<Arc<Host>>,
    /// `None` if nothing is limited.
    pub limits: Option<Arc<Limits>>,
    /// `None` if clients are not asked for TLS.
    pub tls: Option<Tls>,
    /// `None` if nothing is traced.
    pub tracer: Option<Tracer>,
    pub refused_origins: RefusedOrigins,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Gateway(#[from] TrustError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Auth(#[from] SetupError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tracer(#[from] EndpointError),
}

impl App {
    /// Opens the store, joins the layer, and starts the fan-out.
    ///
    /// # Errors
    /// When the store or the certificate cannot be used, or the settings of the layer, of identity
    /// or of the collector make no sense.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new());
        // Before the store, which may have to be waited for.
        let tls = Tls::of(&config.server.tls)?;
        let store = store::open(&config, Arc::clone(&metrics)).await?;
        App::over(store, tls, config, metrics).await
    }

    /// Joins the layer and starts the fan-out, over a store that is open.
    ///
    /// # Errors
    /// When the settings of the layer or of identity make no sense.
    pub async fn over(
        store: Arc<dyn Store>,
        tls: Option<Tls>,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StartError> {
        let auth = Auth::open(&config, Arc::clone(&store), Arc::clone(&metrics))?;
        let auth = Arc::new(auth);
        let clock = Arc::clone(store.committer().clock());
        let events: Arc<dyn EventTable> = Arc::new(Events {
            zone: config.django.time_zone.zone().clone(),
        });
        let encoding = Arc::clone(&events);
        let layer = layer::open(&config, events, clock, Arc::clone(&metrics)).await?;
        let vital = Vital::default();
        vital.include(store.committer().vital());
        vital.include(&layer.vital());
        // A process that is alone sends itself all that there is.
        let every = std::time::Duration::from_secs(config.layer.sweep_s);
        let sweeps = !every.is_zero() && config.layer.backend != Backend::Memory;
        let hub = Arc::new(Hub::new(
            Arc::clone(&layer),
            Arc::clone(&store),
            Arc::clone(&metrics),
            Box::new(move |event| event_frame(&*encoding, event)),
            sweeps,
            vital.clone(),
        ));
        let chat = Chat::new(
            &config,
            Arc::clone(&store),
            Arc::clone(&layer),
            Arc::clone(hub.unannounced()),
            Arc::clone(&metrics),
        );
        let drain = Drain::new(std::time::Duration::from_secs(config.server.drain_s));
        let gateway = Gateway::of(&config, &metrics)?;
        let tracer = Tracer::open(&config.trace, &metrics)?;
        let limits = Limits::of(&config, Arc::clone(&metrics));
        let bodies = Bodies::new(config.server.body_memory_mib);
        let answers = Answers::new(config.server.answer_memory_mib);
        let host = Host::open(&config, &metrics).await?;
        if let Some(host) = &host {
            vital.include(host.vital());
        }
        let audit = Arc::new(Audit::new(Arc::clone(&metrics)));
        let orders = (Arc::clone(&auth), Arc::clone(&audit));
        let obey = move |order: &Disconnect| disconnect(&orders.0, &orders.1, order);
        hub.start(every, Box::new(obey)).await?;
        let recheck = std::time::Duration::from_secs(config.auth.recheck_s);
        if !recheck.is_zero() && config.auth.identity != Identity::None {
            vital.spawn("recheck", Arc::clone(&auth).recheck(recheck));
        }
        Ok(Arc::new(App {
            config,
            auth,
            chat,
            hub,
            store,
            layer,
            metrics,
            audit,
            drain,
            vital,
            bodies,
            answers,
            gateway,
            host,
            limits,
            tls,
            tracer,
            refused_origins: RefusedOrigins::default(),
        }))
    }

    /// The language of the framework's own texts.
    #[must_use]
    pub fn language(&self) -> Language {
        match self.config.django.language {
            crate::config::Language::EnUs => Language::EnUs,
            crate::config::Language::Ko => Language::Ko,
        }
    }

    /// Zone of the times in what clients see.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        self.chat.zone()
    }
}

/// Does as an order says, and notes it in the security log.
fn disconnect(auth: &Auth, audit: &Audit, order: &Disconnect) {
    let sockets = auth.disconnect(order);
    let reason = if sockets == 0 { "no socket" } else { "ordered" };
    audit.note(&Finding {
        event: SecurityEvent::Disconnect,
        reason,
        client: None,
        user: order.user.as_deref(),
        place: order
            .conversation
            .map_or(Place::Nothing, Place::Conversation),
    });
}
