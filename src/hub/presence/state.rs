//! Who is online, as a process knows it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{id::ConversationId, layer::control::Online};

/// Time for which a user who has left still counts as online: most come back.
pub const GRACE: Duration = Duration::from_secs(5);

/// Time between two tellings of all users of a process.
pub const REFRESH: Duration = Duration::from_secs(30);

/// Time for which a telling counts.
pub const LEASE: Duration = Duration::from_secs(90);

/// Most users that conversations are told of in one look.
pub const TOGETHER: usize = 2000;

/// Most users of other processes that are remembered.
const REMEMBERED: usize = 200_000;

/// Clients that show who is online in a conversation.
struct Watching {
    clients: usize,
    /// Whom they show.
    users: Arc<[Arc<str>]>,
}

/// The users here, those that others have told of, and who shows them.
#[derive(Default)]
pub struct PresenceState {
    /// Users with sockets here, and how many.
    here: HashMap<Arc<str>, usize>,
    /// Users who have left, until when they count as here.
    leaving: HashMap<Arc<str>, Instant>,
    /// Users who have come, of whom the others have not been told.
    untold: HashSet<Arc<str>>,
    /// Users of other processes: of which, and until when that counts.
    elsewhere: HashMap<Arc<str>, HashMap<Arc<str>, Instant>>,
    watching: HashMap<ConversationId, Watching>,
    watched: HashMap<Arc<str>, HashSet<ConversationId>>,
    /// Users whose state may be another than conversations have been told.
    changed: HashSet<Arc<str>>,
    /// Users of whom conversations have been told that they are online.
    shown: HashSet<Arc<str>>,
    /// When all users here are told next; `None` before the first one has come.
    refresh: Option<Instant>,
    /// The others are to be asked for their users.
    pub asks: bool,
}

impl PresenceState {
    fn is_online(&self, user: &str) -> bool {
        self.here.contains_key(user)
            || self.leaving.contains_key(user)
            || self.elsewhere.contains_key(user)
    }

    pub fn arrive(&mut self, user: &Arc<str>) {
        let count = self.here.entry(Arc::clone(user)).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        if self.leaving.remove(user).is_none() {
            self.untold.insert(Arc::clone(user));
            self.changed.insert(Arc::clone(user));
        }
        if self.refresh.is_none() {
            self.refresh = Some(Instant::now() + REFRESH);
        }
    }

    pub fn leave(&mut self, user: &Arc<str>, now: Instant) {
        let Some(count) = self.here.get_mut(user) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.here.remove(user);
            self.leaving.insert(Arc::clone(user), now + GRACE);
        }
    }

    pub fn watch(&mut self, id: ConversationId, users: &[String]) -> Vec<Arc<str>> {
        if self.watching.is_empty() {
            // What others told until now was not noted.
            self.asks = true;
        }
        let watching = self.watching.entry(id).or_insert_with(|| Watching {
            clients: 0,
            users: users.iter().map(|user| user.as_str().into()).collect(),
        });
        watching.clients += 1;
        let users = Arc::clone(&watching.users);
        for user in users.iter() {
            self.watched.entry(Arc::clone(user)).or_default().insert(id);
        }
        let online = users.iter().filter(|user| self.is_online(user));
        online.cloned().collect()
    }

    /// Notes the users of a conversation that have changed. Returns who of those who are new is online,
    /// and who of those who are gone was.
    pub fn regroup(&mut self, id: ConversationId, users: &[String]) -> Vec<(Arc<str>, bool)> {
        let Some(watching) = self.watching.get_mut(&id) else {
            return Vec::new();
        };
        let now: Arc<[Arc<str>]> = users.iter().map(|user| user.as_str().into()).collect();
        let before = std::mem::replace(&mut watching.users, Arc::clone(&now));
        let joined = now.iter().filter(|user| !before.contains(user));
        let gone = before.iter().filter(|user| !now.contains(user));
        let mut news = Vec::new();
        for user in joined {
            self.watched.entry(Arc::clone(user)).or_default().insert(id);
            if self.is_online(user) {
                news.push((Arc::clone(user), true));
            }
        }
        for user in gone {
            self.forget_watched(user, id);
            if self.is_online(user) {
                news.push((Arc::clone(user), false));
            }
        }
        news
    }

    fn forget_watched(&mut self, user: &Arc<str>, id: ConversationId) {
        if let Some(all) = self.watched.get_mut(user) {
            all.remove(&id);
            if all.is_empty() {
                self.watched.remove(user);
            }
        }
    }

    pub fn unwatch(&mut self, id: ConversationId) {
        let Some(watching) = self.watching.get_mut(&id) else {
            return;
        };
        watching.clients -= 1;
        if watching.clients > 0 {
            return;
        }
        let users = Arc::clone(&watching.users);
        self.watching.remove(&id);
        for user in users.iter() {
            self.forget_watched(user, id);
        }
        if self.watching.is_empty() {
            self.elsewhere.clear();
            self.shown.clear();
        }
    }

    pub fn hear(&mut self, online: Online, now: Instant) {
        if online.asks && !self.here.is_empty() {
            self.refresh = Some(now);
        }
        if self.watching.is_empty() {
            return;
        }
        let process: Arc<str> = online.process.into();
        for user in online.users {
            let user: Arc<str> = user.into();
            if self.elsewhere.len() >= REMEMBERED && !self.elsewhere.contains_key(&user) {
                continue;
            }
            let at = self.elsewhere.entry(Arc::clone(&user)).or_default();
            at.insert(Arc::clone(&process), now + LEASE);
            self.changed.insert(user);
        }
        for user in online.gone {
            if let Some(at) = self.elsewhere.get_mut(user.as_str()) {
                at.remove(&process);
                if at.is_empty() {
                    self.elsewhere.remove(user.as_str());
                }
                self.changed.insert(user.into());
            }
        }
    }

    /// Returns whether there is nothing to be looked at until something happens.
    pub fn is_idle(&self) -> bool {
        self.here.is_empty()
            && self.leaving.is_empty()
            && self.elsewhere.is_empty()
            && self.changed.is_empty()
    }

    /// Forgets who has left and what has not been told again.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let gone: Vec<Arc<str>> = self
            .leaving
            .extract_if(|_, until| *until <= now)
            .map(|(user, _)| user)
            .collect();
        for user in &gone {
            self.untold.remove(user);
        }
        self.changed.extend(gone.iter().cloned());
        let changed = &mut self.changed;
        self.elsewhere.retain(|user, at| {
            at.retain(|_, until| *until > now);
            if at.is_empty() {
                changed.insert(Arc::clone(user));
            }
            !at.is_empty()
        });
        gone
    }

    /// Returns the users that the others are told of now.
    pub fn take_told(&mut self, now: Instant) -> Vec<Arc<str>> {
        let untold = std::mem::take(&mut self.untold);
        if self.refresh.is_some_and(|refresh| refresh <= now) {
            self.refresh = (!self.here.is_empty()).then_some(now + REFRESH);
            return self.here.keys().cloned().collect();
        }
        untold.into_iter().collect()
    }

    /// Returns what each conversation is told of now.
    pub fn take_news(&mut self) -> HashMap<ConversationId, Vec<(Arc<str>, bool)>> {
        let some: Vec<Arc<str>> = self.changed.iter().take(TOGETHER).cloned().collect();
        let mut news: HashMap<ConversationId, Vec<(Arc<str>, bool)>> = HashMap::new();
        for user in some {
            self.changed.remove(&user);
            let is_online = self.is_online(&user);
            let was_online = self.shown.contains(&user);
            if is_online == was_online {
                continue;
            }
            if is_online {
                self.shown.insert(Arc::clone(&user));
            } else {
                self.shown.remove(&user);
            }
            for id in self.watched.get(&user).into_iter().flatten() {
                let news = news.entry(*id).or_default();
                news.push((Arc::clone(&user), is_online));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> ConversationId {
        Uuid::from_u128(number).into()
    }

    fn heard(users: &[&str], gone: &[&str]) -> Online {
        let texts = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect();
        Online {
            process: "other".to_owned(),
            users: texts(users),
            gone: texts(gone),
            asks: false,
        }
    }

    /// What a conversation is told of now.
    fn shown(state: &mut PresenceState, id: ConversationId) -> Vec<(String, bool)> {
        let news = state.take_news().remove(&id).unwrap_or_default();
        let news = news
            .into_iter()
            .map(|(user, online)| (user.to_string(), online));
        news.collect()
    }

    #[test]
    fn who_comes_back_soon_has_not_left() {
        let (mut state, now) = (PresenceState::default(), Instant::now());
        let alice: Arc<str> = "alice".into();
        assert!(state.watch(id(1), &["alice".to_owned()]).is_empty());
        state.arrive(&alice);
        assert_eq!(shown(&mut state, id(1)), [("alice".to_owned(), true)]);
        state.leave(&alice, now);
        assert!(state.expire(now + GRACE / 2).is_empty());
        state.arrive(&alice);
        assert!(state.expire(now + 2 * GRACE).is_empty());
        assert!(shown(&mut state, id(1)).is_empty());
        state.leave(&alice, now + 2 * GRACE);
        assert_eq!(state.expire(now + 3 * GRACE), [Arc::from("alice")]);
        assert_eq!(shown(&mut state, id(1)), [("alice".to_owned(), false)]);
    }

    #[test]
    fn users_of_a_process_that_is_not_heard_of_leave() {
        let (mut state, now) = (PresenceState::default(), Instant::now());
        state.watch(id(1), &["bob".to_owned()]);
        state.hear(heard(&["bob", "carol"], &[]), now);
        assert_eq!(shown(&mut state, id(1)), [("bob".to_owned(), true)]);
        state.hear(heard(&["bob"], &[]), now + LEASE / 2);
        state.expire(now + LEASE);
        assert!(shown(&mut state, id(1)).is_empty(), "it was told again");
        state.expire(now + 2 * LEASE);
        assert_eq!(shown(&mut state, id(1)), [("bob".to_owned(), false)]);
        assert!(state.is_idle());
    }

    #[test]
    fn a_user_is_online_as_long_as_one_process_says_so() {
        let (mut state, now) = (PresenceState::default(), Instant::now());
        let bob: Arc<str> = "bob".into();
        state.watch(id(1), &["bob".to_owned()]);
        state.arrive(&bob);
        state.hear(heard(&["bob"], &[]), now);
        assert_eq!(shown(&mut state, id(1)).len(), 1);
        state.leave(&bob, now);
        state.expire(now + GRACE);
        assert!(shown(&mut state, id(1)).is_empty());
        state.hear(heard(&[], &["bob"]), now);
        assert_eq!(shown(&mut state, id(1)), [("bob".to_owned(), false)]);
    }

    #[test]
    fn in_a_storm_some_are_told_at_a_time() {
        let mut state = PresenceState::default();
        let users: Vec<String> = (0..3 * TOGETHER / 2).map(|it| it.to_string()).collect();
        state.watch(id(1), &users);
        for user in &users {
            state.arrive(&user.as_str().into());
        }
        assert_eq!(shown(&mut state, id(1)).len(), TOGETHER);
        assert_eq!(shown(&mut state, id(1)).len(), TOGETHER / 2);
    }

    #[test]
    fn nothing_is_remembered_without_anybody_who_shows_it() {
        let (mut state, now) = (PresenceState::default(), Instant::now());
        state.hear(heard(&["bob"], &[]), now);
        assert!(state.is_idle() && state.elsewhere.is_empty());
        state.watch(id(1), &["bob".to_owned()]);
        state.hear(heard(&["bob"], &[]), now);
        state.unwatch(id(1));
        state.take_news();
        assert!(state.is_idle() && state.watched.is_empty() && state.watching.is_empty());
    }
}
