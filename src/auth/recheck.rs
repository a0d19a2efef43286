//! The rights of open sockets, looked at again every `auth.recheck_s`: whether the session is still
//! its user's, whether the token was taken back, whether the conversation is active, and whether
//! the user takes part in it.
//!
//! One query answers for [`BATCH`] sockets, and one batch is asked for after the other: looking
//! takes at most one connection of the store's pool, however many sockets there are.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tracing::field::display;

use super::{
    Auth,
    sockets::{Ended, OpenSocket},
};
use crate::{
    id::ConversationId,
    {
        chat::{Group, Participants, policy::Caller},
        config::Secret,
        layer::control::Disconnect,
        store::StoreError,
    },
};

/// Sockets whose rights are asked for together.
const BATCH: usize = 500;

impl Auth {
    /// Looks again every so often, until the process ends.
    pub async fn recheck(self: Arc<Self>, every: Duration) {
        loop {
            sleep(every).await;
            for some in self.sockets.known().chunks(BATCH) {
                if let Err(error) = self.look_again(some).await {
                    tracing::warn!(%error, "the rights of open sockets could not be looked at");
                }
            }
        }
    }

    /// Ends the rights of those that would not be admitted now.
    async fn look_again(&self, sockets: &[Arc<OpenSocket>]) -> Result<(), StoreError> {
        let users = self.users_of_sessions(sockets).await?;
        let revoked = self.revoked_tokens(sockets).await;
        let active = self.active_conversations(sockets).await?;
        for socket in sockets {
            let is_known = socket
                .session
                .as_ref()
                .is_none_or(|session| users.get(session.expose()) == socket.user.as_ref())
                && socket.token_id().is_none_or(|id| !revoked.contains(&id));
            let takes_part = |id| {
                let participants: Option<&Participants> = active.get(&id);
                participants.is_some_and(|it| socket.caller.takes_part(it.as_slice()))
            };
            let is_admitted =
                socket.caller == Caller::Anybody || socket.conversation_id.is_none_or(takes_part);
            if !is_known {
                self.end(socket, Ended::Unknown);
            } else if !is_admitted {
                self.metrics.policy_denied("stay");
                self.end(socket, Ended::Refused);
            }
        }
        Ok(())
    }

    /// Looks up the users of the sessions that the sockets were opened with.
    async fn users_of_sessions(
        &self,
        sockets: &[Arc<OpenSocket>],
    ) -> Result<HashMap<String, Arc<str>>, StoreError> {
        let sessions = sockets.iter().filter_map(|it| it.session.as_ref());
        let cookies: HashSet<&str> = sessions.map(Secret::expose).collect();
        if cookies.is_empty() {
            return Ok(HashMap::new());
        }
        let cookies: Vec<&str> = cookies.into_iter().collect();
        match self.proof() {
            Some(proof) => proof.users(&*self.store, &cookies).await,
            None => Ok(HashMap::new()),
        }
    }

    /// Returns the sockets' tokens that were taken back, as far as that can be found out now.
    async fn revoked_tokens(&self, sockets: &[Arc<OpenSocket>]) -> HashSet<Arc<str>> {
        let ids: HashSet<Arc<str>> = sockets.iter().filter_map(|it| it.token_id()).collect();
        let texts: Vec<&str> = ids.iter().map(|id| &**id).collect();
        let Some(tokens) = self.tokens() else {
            return HashSet::new();
        };
        match tokens.revoked(&texts).await {
            Ok(revoked) => revoked.into_iter().map(Arc::from).collect(),
            Err(error) => {
                tracing::warn!(%error, "the tokens of open sockets could not be looked at");
                HashSet::new()
            }
        }
    }

    /// Returns the participants of the conversations that are active, as far as a policy asks for
    /// them.
    async fn active_conversations(
        &self,
        sockets: &[Arc<OpenSocket>],
    ) -> Result<HashMap<ConversationId, Participants>, StoreError> {
        let held = sockets.iter().filter(|it| it.caller != Caller::Anybody);
        let ids: HashSet<ConversationId> = held.filter_map(|it| it.conversation_id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<ConversationId> = ids.into_iter().collect();
        let active = self.store.active_participants(&ids).await?;
        Ok(active.into_iter().collect())
    }

    fn end(&self, socket: &OpenSocket, why: Ended) {
        let user = socket.user.as_deref();
        let conversation_id = socket.conversation_id.map(display);
        tracing::info!(
            user,
            conversation_id,
            ?why,
            "the rights of a socket have ended"
        );
        if why == Ended::Unknown
            && let Some(user) = user
        {
            self.forget(user);
        }
        socket.end(why);
    }

    /// Ends the rights to a group of the sockets here whose users are none of its members.
    pub fn keep_members(&self, group: &Group) {
        let users = group.users();
        for socket in self.sockets.within(group.id) {
            if !socket.has_ended() && !socket.caller.takes_part(&users) {
                self.end(&socket, Ended::Refused);
            }
        }
    }

    /// Does as an order says, whether it came from another process or from Django. What is
    /// remembered of the user's sessions is forgotten: they are looked up when the user comes back.
    /// Returns the number of sockets.
    pub fn disconnect(&self, order: &Disconnect) -> usize {
        if let Some(user) = &order.user {
            self.forget(user);
        }
        let sockets = self.sockets.disconnect(order);
        let Disconnect { user, conversation } = order;
        tracing::info!(user, ?conversation, sockets, "disconnected by an order");
        sockets
    }
}
