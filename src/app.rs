//! The handles of one server, wired once and passed down.

use std::{sync::Arc, time::Duration};

use crate::{
    auth::{Auth, SetupError, proof::OpenProof},
    chat::Group,
    config::{Backend, Config, GroupPattern, Identity},
    files::{Files, FilesError},
    hub::{Hub, frames::Encode},
    layer::{self, ChannelLayer, LayerError, control::Disconnect, events::EventTable},
    limits::{Limits, bodies::Bodies, memory::Answers},
    metrics::{Metrics, SecurityEvent},
    python::datetime::Zone,
    rollout::Rollout,
    service::{Chat, forget_old_changes, sweep_attachments},
    shutdown::Drain,
    store::Store,
    telemetry::{
        origins::RefusedOrigins,
        security::{Audit, AuditPlace, SecurityFinding},
        trace::{EndpointError, Tracer},
    },
    tls::Tls,
    vital::Vital,
};

/// The services that the requests of a chat need. There are no globals: two servers fit into one
/// process. Chats of one server that have tables of their own have each an `App`, and share what is
/// the server's.
pub struct App {
    pub config: Config,
    pub auth: Arc<Auth>,
    /// The use cases over conversations that every dialect has a form for: those of two people, where
    /// there are groups too.
    pub chat: Chat,
    /// The use cases over all conversations, groups among them.
    pub chat_with_groups: Chat,
    pub hub: Arc<Hub>,
    /// The tables of the conversations of `chat`.
    pub store: Arc<dyn Store>,
    /// The tables of all conversations.
    pub store_with_groups: Arc<dyn Store>,
    pub layer: Arc<dyn ChannelLayer>,
    pub metrics: Arc<Metrics>,
    /// The security log.
    pub audit: Arc<Audit>,
    pub drain: Drain,
    /// The tasks that the process cannot do without.
    pub vital: Vital,
    pub bodies: Bodies,
    pub answers: Arc<Answers>,
    /// `None` if there is no Django that could serve a conversation.
    pub rollout: Option<Arc<Rollout>>,
    /// `None` if nothing is limited.
    pub limits: Option<Arc<Limits>>,
    /// `None` if clients are not asked for TLS.
    pub tls: Option<Tls>,
    /// `None` if nothing is traced.
    pub tracer: Option<Arc<Tracer>>,
    pub refused_origins: RefusedOrigins,
}

/// The applications beside a chat, as far as the rooms below must know them.
pub struct Peers {
    /// Their group messages.
    pub events: Arc<dyn EventTable>,
    /// The names of their groups.
    pub groups: GroupPattern,
    /// Opens the proofs by which callers are known to them.
    pub open_proof: OpenProof,
}

/// Why an app cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Auth(#[from] SetupError),
    #[error(transparent)]
    Tracer(#[from] EndpointError),
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl App {
    /// Wires the handles over a store that is open, beside these peers, with frames of events as
    /// the dialects make them.
    ///
    /// # Errors
    /// When the settings of the layer, of identity or of the collector make no sense.
    pub async fn open(
        store: Arc<dyn Store>,
        tls: Option<Tls>,
        config: Config,
        metrics: Arc<Metrics>,
        peers: Peers,
        encoders: Vec<Encode>,
    ) -> Result<Self, StartError> {
        let vital = Vital::default();
        let own = ChatHandles::open(store, peers, encoders, (&config, &metrics, &vital)).await?;
        if config.attachments.place.is_some() && own.chat.files().is_none() {
            tracing::warn!("no files can be sent: `chatferry migrate` makes the table for them");
        }
        Ok(App {
            auth: own.auth,
            chat: own.chat,
            chat_with_groups: own.chat_with_groups,
            hub: own.hub,
            store: own.store,
            store_with_groups: own.store_with_groups,
            layer: own.layer,
            audit: Arc::new(Audit::new(Arc::clone(&metrics))),
            drain: Drain::new(Duration::from_secs(config.server.drain_s)),
            vital,
            bodies: Bodies::new(config.server.body_memory_mib),
            answers: Arc::new(Answers::new(config.server.answer_memory_mib)),
            rollout: Rollout::of(&config),
            limits: Limits::of(&config, Arc::clone(&metrics)),
            tls,
            tracer: Tracer::open(&config.trace, &metrics)?.map(Arc::new),
            refused_origins: RefusedOrigins::default(),
            config,
            metrics,
        })
    }

    /// Wires the handles of another chat of the same server, over its own store and beside its own
    /// peers.
    ///
    /// # Errors
    /// When the settings of the layer or of identity make no sense for it.
    pub async fn beside(
        &self,
        store: Arc<dyn Store>,
        peers: Peers,
        encoders: Vec<Encode>,
    ) -> Result<Self, StartError> {
        let shared = (&self.config, &self.metrics, &self.vital);
        let own = ChatHandles::open(store, peers, encoders, shared).await?;
        Ok(App {
            auth: own.auth,
            chat: own.chat,
            chat_with_groups: own.chat_with_groups,
            hub: own.hub,
            store: own.store,
            store_with_groups: own.store_with_groups,
            layer: own.layer,
            config: self.config.clone(),
            metrics: Arc::clone(&self.metrics),
            audit: Arc::clone(&self.audit),
            drain: self.drain.clone(),
            vital: self.vital.clone(),
            bodies: self.bodies.clone(),
            answers: Arc::clone(&self.answers),
            limits: self.limits.clone(),
            // Django serves none of its conversations, and connections are the first chat's.
            rollout: None,
            tls: None,
            tracer: self.tracer.clone(),
            refused_origins: RefusedOrigins::default(),
        })
    }

    /// Joins the layer, starts the fan-out, and looks at the rights of open sockets from now on.
    ///
    /// # Errors
    /// When the layer does not take the process as a member.
    pub async fn start(&self) -> Result<(), StartError> {
        let orders = (Arc::clone(&self.auth), Arc::clone(&self.audit));
        let obey = move |order: &Disconnect| disconnect(&orders.0, &orders.1, order);
        let auth = Arc::clone(&self.auth);
        let keep_members = move |group: &Group| auth.keep_members(group);
        let (obey, keep_members) = (Box::new(obey), Box::new(keep_members));
        self.hub
            .start(sweep(&self.config), obey, keep_members)
            .await?;
        if self.store.keeps_changes() {
            let forget = forget_old_changes(Arc::clone(&self.store));
            self.vital.spawn("old changes", forget);
        }
        if let Some(files) = self.chat.files() {
            let sweep = sweep_attachments(Arc::clone(&self.store_with_groups), Arc::clone(files));
            self.vital.spawn("attachments", sweep);
        }
        let recheck = Duration::from_secs(self.config.auth.recheck_s);
        if !recheck.is_zero() && self.config.auth.identity != Identity::None {
            let recheck = Arc::clone(&self.auth).recheck(recheck);
            self.vital.spawn("recheck", recheck);
        }
        Ok(())
    }

    /// Returns the zone of the times in what clients see.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        self.chat.zone()
    }
}

/// Handles that each chat has of its own.
struct ChatHandles {
    auth: Arc<Auth>,
    chat: Chat,
    chat_with_groups: Chat,
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    store_with_groups: Arc<dyn Store>,
    layer: Arc<dyn ChannelLayer>,
}

impl ChatHandles {
    async fn open(
        store: Arc<dyn Store>,
        peers: Peers,
        encoders: Vec<Encode>,
        (config, metrics, vital): (&Config, &Arc<Metrics>, &Vital),
    ) -> Result<Self, StartError> {
        let (open_proof, clock) = (peers.open_proof, Arc::clone(store.committer().clock()));
        let pairs = Arc::clone(store.kinds().map_or(&store, |kinds| &kinds.pairs));
        // All that clients may see.
        let seen = Arc::clone(if config.native.has_groups() {
            &store
        } else {
            &pairs
        });
        let auth = Auth::open(config, open_proof, Arc::clone(&seen), Arc::clone(metrics))?;
        let layer = layer::open(config, peers.events, clock, Arc::clone(metrics)).await?;
        vital.include(store.committer().vital());
        if let Some(kinds) = store.kinds() {
            vital.include(kinds.groups.committer().vital());
        }
        vital.include(&layer.vital());
        let hub = Arc::new(Hub::new(
            Arc::clone(&layer),
            Arc::clone(&seen),
            Arc::clone(metrics),
            encoders,
            !sweep(config).is_zero(),
            vital.clone(),
        ));
        let files = if store.keeps_attachments() {
            Files::open(&config.attachments).await?
        } else {
            None
        };
        let files = files.map(Arc::new);
        let chat = |store| {
            Chat::new(
                config,
                store,
                Arc::clone(&layer),
                (Arc::clone(hub.unannounced()), Arc::clone(hub.changes())),
                Arc::clone(metrics),
                peers.groups.clone(),
                files.clone(),
            )
        };
        Ok(ChatHandles {
            auth: Arc::new(auth),
            chat: chat(Arc::clone(&pairs)),
            chat_with_groups: chat(seen),
            hub,
            store: pairs,
            store_with_groups: store,
            layer,
        })
    }
}

/// Returns how often conversations are compared with the store; never if it is 0.
fn sweep(config: &Config) -> Duration {
    if config.layer.backend == Backend::Memory {
        // A process that is alone sends itself all that there is.
        return Duration::ZERO;
    }
    Duration::from_secs(config.layer.sweep_s)
}

/// Does as an order says, and notes it in the security log.
fn disconnect(auth: &Auth, audit: &Audit, order: &Disconnect) {
    let sockets = auth.disconnect(order);
    let reason = if sockets == 0 { "no socket" } else { "ordered" };
    audit.note(&SecurityFinding {
        event: SecurityEvent::Disconnect,
        reason,
        client: None,
        user: order.user.as_deref(),
        place: order
            .conversation
            .map_or(AuditPlace::Nothing, AuditPlace::Conversation),
    });
}
