//! Requests of the code in a worker to the channel layer. They are begun in the order in which they
//! come, and answered when they are done.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Host,
    groups::{Channel, Local},
    link::WorkerLink,
    wire::{self, Down, What},
};
use crate::{
    chat::Event,
    layer::{
        LayerError,
        redis::{codec::item::Item, names},
    },
};

/// Begins a request; `room` is given back when it has been answered.
pub fn begin(
    host: &Arc<Host>,
    link: &Arc<WorkerLink>,
    number: u64,
    what: What,
    room: OwnedSemaphorePermit,
) {
    let (host, link) = (Arc::clone(host), Arc::clone(link));
    // An event has its place in the order of its group from here on.
    let sent = match &what {
        What::GroupSend { group, event } => {
            Some(host.layer().group_send(group, Event::Packed(event.clone())))
        }
        _ => None,
    };
    tokio::spawn(async move {
        let done = match sent {
            Some(sent) => sent.await,
            None => perform(&host, what).await,
        };
        answer(&link, number, done);
        drop(room);
    });
}

async fn perform(host: &Host, what: What) -> Result<(), LayerError> {
    match what {
        What::GroupAdd { group, channel } => {
            names::check_group(&group)?;
            match channel_of(host, &channel)? {
                Some(ours) if host.is_open(ours) => {
                    let most = host.max_memberships();
                    let added = host.groups().add(&**host.layer(), &group, ours, most).await;
                    // It may have ended meanwhile, and what it was in with it.
                    if !host.is_open(ours) {
                        host.groups().leave_all(&**host.layer(), ours).await;
                    }
                    added
                }
                // With one process no other has such a channel.
                None if host.is_alone() => Ok(()),
                Some(_) => Ok(()),
                None => host.layer().group_add(&group, &channel).await,
            }
        }
        What::GroupDiscard { group, channel } => match channel_of(host, &channel)? {
            Some(ours) => host.groups().discard(&**host.layer(), &group, ours).await,
            None => host.layer().group_discard(&group, &channel).await,
        },
        What::Send { channel, event } => match channel_of(host, &channel)? {
            Some(ours) if host.deliver_to(ours, &event) => Ok(()),
            Some(_) => Err(LayerError::Full(channel)),
            None => host.layer().send(&channel, Event::Packed(event)).await,
        },
        _ => Ok(()),
    }
}

/// The channel of this name if it is one of this process.
fn channel_of(host: &Host, name: &str) -> Result<Option<Channel>, LayerError> {
    names::check_channel(name)?;
    let Some(local) = name.strip_prefix(host.prefix()) else {
        return Ok(None);
    };
    match Local::parse(local) {
        Some(Local::Channel(channel)) => Ok(Some(channel)),
        _ => Err(LayerError::Name(name.to_owned())),
    }
}

/// Tells the worker what has become of it.
fn answer(link: &WorkerLink, number: u64, done: Result<(), LayerError>) {
    let Err(error) = done else {
        return link.send(Down::Answer, number, b"");
    };
    let text = |text: String| Item::Plain(text.into());
    let body = wire::map(vec![
        ("kind", text(error.label().to_owned())),
        ("text", text(error.to_string())),
    ]);
    link.send(Down::Answer, number, &body);
}
