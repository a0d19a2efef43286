//! Paying what the sending task of one host owes.
//!
//! The lane of the groups' own host holds events that have not been sent at all; those of other
//! hosts hold what only the queues there have missed.

use super::sender::{CoreSender, Outcomes};
use crate::layer::{
    LayerError,
    redis::debts::{Due, Placed, Unsettled, Wire},
};

impl CoreSender {
    /// Pays one batch of what is due.
    pub(super) async fn pay(&mut self) {
        let core = std::sync::Arc::clone(&self.core);
        let due = self.debts.take(
            |host| core.hosts.get(host).is_some_and(|host| host.link.is_up()),
            || core.scores.next(),
            &Wire {
                format: core.inbox.codec.format,
                group_prefix: String::new(),
            },
        );
        let Some((to, due)) = due else { return };
        let (Due::Repeat(Unsettled { items, .. }) | Due::Again(items)) = &due;
        self.place(items);
        let mut outcomes = Outcomes::default();
        if to == self.host.number {
            let (items, number) = match due {
                Due::Repeat(Unsettled { number, items, .. }) => (items, Some(number)),
                Due::Again(items) => (items, None),
            };
            let mut sent = self.send_home(items, number, &mut outcomes).await;
            // Typing may have been part of a call that is repeated; it is stale by now.
            sent.retain(|(_, item)| item.keeps);
            self.send_elsewhere(sent, &mut outcomes).await;
        } else {
            let (items, number, is_repeated) = match due {
                Due::Repeat(Unsettled { number, items, .. }) => (items, number, true),
                Due::Again(items) => (items, self.next_number(), false),
            };
            let sent = self.add_anew(to, number, &items, is_repeated).await;
            if let Err(error) = sent {
                self.debts.failed(to, number, items, &error);
            }
        }
        self.debts.tried();
    }

    /// Puts events into the queues on another host that are in their groups by now.
    async fn add_anew(
        &mut self,
        to: usize,
        number: u64,
        items: &[Placed],
        is_repeated: bool,
    ) -> Result<(), LayerError> {
        self.learn_anew(items).await?;
        self.add_at(to, number, items.iter(), is_repeated).await
    }
}
