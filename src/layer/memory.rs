//! The channel layer of a process that is alone: stands in for
//! `channels.layers.InMemoryChannelLayer`.
//!
//! It keeps Channels' semantics but for one: that layer drops what does not fit into a full
//! channel, while here each sender waits until its event has been taken, since the task that
//! empties the channel runs in the same process. Nothing that was broadcast is lost, and no more
//! events wait than there are senders. Memberships do not expire for the same reason: no other
//! process can leave a dead member behind.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::{CONTROL, ChannelLayer, Departure, LayerError, Received, Sent, control::Control};
use crate::{chat::Event, python::datetime::Timestamp, vital::Vital};

/// The prefix that Channels gives the name of a channel only one process reads.
pub const LOCAL_PREFIX: &str = "specific!";

/// An event on its way to one channel.
struct MemoryDelivery {
    local: String,
    event: Arc<Event>,
    sent: Departure,
    /// Dropped when the event has been taken, which is what its sender waits for.
    _taken: oneshot::Sender<()>,
}

/// Groups and the inbox of this process.
pub struct MemoryLayer {
    /// Group → the local names of its channels. Held for moments only.
    groups: Mutex<HashMap<String, HashSet<String>>>,
    inbox: mpsc::UnboundedSender<MemoryDelivery>,
    /// Locked by the one task that receives.
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<MemoryDelivery>>,
    closed: watch::Sender<bool>,
}

impl MemoryLayer {
    #[must_use]
    pub fn new() -> Self {
        let (inbox, received) = mpsc::unbounded_channel();
        MemoryLayer {
            groups: Mutex::default(),
            inbox,
            received: tokio::sync::Mutex::new(received),
            closed: watch::Sender::new(false),
        }
    }

    /// Returns the number of channels in `group`.
    #[cfg(test)]
    pub fn group_size(&self, group: &str) -> usize {
        self.members(group).len()
    }

    /// Hands an event to one channel. What it returns ends when the event has been taken, and with
    /// an error always: the other half is dropped, not used.
    fn put(
        &self,
        local: String,
        event: &Arc<Event>,
        sent: Departure,
    ) -> Result<oneshot::Receiver<()>, LayerError> {
        let (taken, waiting) = oneshot::channel();
        let delivery = MemoryDelivery {
            local,
            event: Arc::clone(event),
            sent,
            _taken: taken,
        };
        self.inbox.send(delivery).map_err(|_| LayerError::Closed)?;
        Ok(waiting)
    }

    fn members(&self, group: &str) -> Vec<String> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let members = groups.get(group).into_iter().flatten();
        members.cloned().collect()
    }
}

impl Default for MemoryLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the local part of a channel's name; a name without a prefix is its own.
fn local(channel: &str) -> &str {
    channel.split_once('!').map_or(channel, |(_, local)| local)
}

#[async_trait]
impl ChannelLayer for MemoryLayer {
    fn channel(&self, local: &str) -> String {
        format!("{LOCAL_PREFIX}{local}")
    }

    async fn group_add(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .entry(group.to_owned())
            .or_default()
            .insert(local(channel).to_owned());
        Ok(())
    }

    async fn group_discard(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = groups.get_mut(group) {
            members.remove(local(channel));
            if members.is_empty() {
                groups.remove(group);
            }
        }
        Ok(())
    }

    fn group_send(&self, group: &str, event: Event) -> Sent {
        let (event, sent) = (Arc::new(event), Departure::now());
        let members = self.members(group).into_iter();
        let untaken: Result<Vec<_>, _> = members.map(|it| self.put(it, &event, sent)).collect();
        Box::pin(async move {
            for waiting in untaken? {
                let _ = waiting.await;
            }
            Ok(())
        })
    }

    fn may_miss(&self, _: &str) -> bool {
        false
    }

    async fn receive(&self) -> Option<Received> {
        let mut received = self.received.lock().await;
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => None,
            next = received.recv() => {
                let next = next?;
                Some(Received::Event {
                    local: next.local,
                    event: next.event,
                    sent: Some(next.sent),
                    resent: None,
                })
            }
        }
    }

    fn has_more(&self) -> bool {
        let received = self.received.try_lock();
        received.is_ok_and(|received| !received.is_empty())
    }

    async fn send(&self, channel: &str, event: Event) -> Result<(), LayerError> {
        let waiting = self.put(
            local(channel).to_owned(),
            &Arc::new(event),
            Departure::now(),
        )?;
        let _ = waiting.await;
        Ok(())
    }

    async fn join_control(&self) -> Result<(), LayerError> {
        self.group_add(CONTROL, &self.channel(CONTROL)).await
    }

    /// There is no other process: it comes back to this one, as with Redis.
    fn send_control(&self, control: &Control) -> Sent {
        self.group_send(CONTROL, control.event())
    }

    fn send_ahead(&self, _: &str, _: Timestamp, _: &Control) -> Sent {
        Box::pin(std::future::ready(Ok(())))
    }

    /// There is none.
    fn vital(&self) -> Vital {
        Vital::default()
    }

    async fn ping(&self) -> Result<(), LayerError> {
        if *self.closed.borrow() {
            Err(LayerError::Closed)
        } else {
            Ok(())
        }
    }

    async fn close(&self) {
        self.closed.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn typing(user: &str) -> Event {
        Event::Typing {
            user_id: user.into(),
            is_typing: Value::Bool(true),
        }
    }

    async fn next(layer: &MemoryLayer) -> (String, Arc<Event>) {
        match layer.receive().await {
            Some(Received::Event { local, event, .. }) => (local, event),
            other => panic!("{other:?} is no event"),
        }
    }

    #[tokio::test]
    async fn every_member_of_a_group_gets_an_event_once() {
        let layer = MemoryLayer::new();
        for name in ["one", "two", "two"] {
            layer.group_add("g", &layer.channel(name)).await.unwrap();
        }
        let _sent = layer.group_send("g", typing("a"));
        let mut got = vec![next(&layer).await.0, next(&layer).await.0];
        got.sort();
        assert_eq!(got, ["one", "two"]);
        assert_eq!(layer.received.lock().await.len(), 0);
    }

    #[tokio::test]
    async fn a_channel_that_left_gets_nothing_more() {
        let layer = MemoryLayer::new();
        let channel = layer.channel("one");
        layer.group_add("g", &channel).await.unwrap();
        layer.group_discard("g", &channel).await.unwrap();
        layer.group_discard("g", &channel).await.unwrap();
        layer.group_send("g", typing("a")).await.unwrap();
        assert_eq!(layer.received.lock().await.len(), 0);
        assert!(
            layer.groups.lock().unwrap().is_empty(),
            "an empty group takes no memory"
        );
    }

    #[tokio::test]
    async fn events_arrive_in_the_order_of_the_calls_whoever_awaits_them() {
        let layer = MemoryLayer::new();
        layer.group_add("g", &layer.channel("one")).await.unwrap();
        let sent: Vec<Sent> = (0..50)
            .map(|n: u8| layer.group_send("g", typing(&n.to_string())))
            .collect();
        drop(sent);
        for n in 0..50 {
            assert_eq!(*next(&layer).await.1, typing(&n.to_string()));
        }
    }

    #[tokio::test]
    async fn a_sender_waits_until_its_event_has_been_taken() {
        let layer = MemoryLayer::new();
        layer.group_add("g", &layer.channel("one")).await.unwrap();
        let mut sent = layer.group_send("g", typing("a"));
        assert!(futures_pending(&mut sent).await);
        next(&layer).await;
        sent.await.unwrap();
    }

    async fn futures_pending(sent: &mut Sent) -> bool {
        tokio::select! {
            biased;
            _ = sent => false,
            () = std::future::ready(()) => true,
        }
    }
}
