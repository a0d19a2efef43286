//! The channel layer in Redis, shared with Django: stands in for `channels_redis`, 4.2.0 to 4.3.0.
//!
//! | module | what it is |
//! |---|---|
//! | [`core`] | `RedisChannelLayer`: queues that keep messages until they are read |
//! | [`pubsub`] | `RedisPubSubChannelLayer`: nothing is kept |
//! | [`codec`], [`crypto`] | a message's bytes |
//! | [`event`] | which messages are events of the chat |
//! | [`names`], [`shard`] | keys, and the host they are on |
//! | [`address`], [`bounds`], `link`, `keeper` | connections, opened again whenever they fail |
//! | `bounds` | how much a server may send |
//! | [`single`] | a connection for other questions |
//! | [`side`] | what a dialect shares with its peers besides |
//! | [`script`] | what one send does in Redis |
//! | `jobs` | what is to be sent |
//! | `debts`, `ledger` | what could not be sent, until it is |
//! | `inbox`, `members` | what comes in, what we are members of |
//!
//! Both layers outlive Redis: sockets stay, local members are served, what could not be sent is
//! sent when it is back, memberships are restored, and a [`Received::Gap`](super::Received::Gap)
//! tells that something may have been missed meanwhile. What keeps a message from being read or
//! sent is counted and logged, and ends no task.

pub mod address;
pub(crate) mod backoff;
pub mod bounds;
mod clock;
pub mod codec;
pub mod core;
pub mod crypto;
mod debts;
pub mod event;
mod inbox;
mod jobs;
mod keeper;
mod ledger;
mod link;
mod members;
mod moved;
pub mod names;
pub mod pubsub;
pub mod script;
pub mod shard;
pub mod side;
pub mod single;

use std::sync::Arc;

use self::{
    address::Address, codec::Codec, core::CoreLayer, crypto::Keys, event::Passthrough,
    inbox::Inbox, link::HostLink, pubsub::PubSubLayer,
};
use super::{ChannelLayer, LayerError};
use crate::{
    clock::Clock,
    config::{self, Backend, capacity::Capacities, redis_url::RedisUrl},
    metrics::Metrics,
};

/// The address of `channels_redis` if no host is set.
const DEFAULT_HOST: &str = "redis://localhost:6379";

/// Fernet tokens of the core layer live this much longer than entries, in seconds.
const TOKEN_MARGIN: u64 = 10;

/// Returns the addresses of the hosts of these settings; one if they name none.
///
/// # Errors
/// [`LayerError::Settings`] for an address that is none.
pub fn addresses(settings: &config::Layer) -> Result<Vec<Address>, LayerError> {
    let hosts = settings.hosts.entries();
    let hosts = if hosts.is_empty() {
        vec![DEFAULT_HOST]
    } else {
        hosts
    };
    let addresses = hosts
        .into_iter()
        .map(|host| RedisUrl::parse(host).map(Address::from));
    addresses
        .collect::<Result<_, _>>()
        .map_err(LayerError::Settings)
}

/// Starts the layer of these settings. A host that is away is no error.
///
/// # Errors
/// [`LayerError::Settings`] for an address that is none.
pub async fn open(
    settings: &config::Layer,
    passthrough: Passthrough,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn ChannelLayer>, LayerError> {
    let addresses = addresses(settings)?;
    metrics.redis_hosts(addresses.len());
    let link = |address: Address| {
        let address = address.with_values_of(settings.max_event_bytes);
        HostLink::new(address, Arc::clone(&clock), Arc::clone(&metrics))
    };
    let links = addresses.into_iter().map(link).collect();
    let keys = settings
        .symmetric_encryption_keys
        .iter()
        .map(config::Secret::expose);
    let is_core = settings.backend == Backend::Redis;
    let codec = Codec {
        format: settings.serializer_format,
        prefix_len: if is_core {
            settings.random_prefix_length
        } else {
            0
        },
        keys: Keys::new(keys),
        token_life: is_core.then_some(settings.expiry + TOKEN_MARGIN),
        event_max: settings.max_event_bytes,
        events: passthrough.events(),
    };
    let inbox = Inbox::new(codec, passthrough, Arc::clone(&clock), Arc::clone(&metrics));
    if !is_core {
        if inbox.codec.keys.is_some() {
            tracing::warn!(
                "channels_redis 4.2.0 ignores its keys on this layer and sends plain text; such \
                 messages are counted and dropped here"
            );
        }
        let layer = PubSubLayer::start(settings.prefix.clone(), links, inbox).await?;
        return Ok(Arc::new(layer));
    }
    let core = core::Settings {
        prefix: settings.prefix.clone(),
        expiry: settings.expiry,
        group_expiry: settings.group_expiry,
        capacities: Capacities {
            rules: settings
                .channel_capacity
                .iter()
                .map(|c| c.rule().clone())
                .collect(),
            default: settings.capacity,
        },
    };
    Ok(Arc::new(
        CoreLayer::start(core, links, inbox, metrics).await?,
    ))
}
