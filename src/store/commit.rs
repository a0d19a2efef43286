//! Group commit: the writes of many callers in one transaction.
//!
//! Callers hand their write to the one committer of a database and wait. The committer takes all
//! that has gathered, has it written in one transaction, and only then wakes each caller. There is
//! no timer: the next batch is whatever arrived while the last one was being committed, so a lone
//! write waits for nothing and a crowd shares one `fsync`.
//!
//! The failures of a batch, and the fate of each:
//!
//! | the backend says | the committer |
//! |---|---|
//! | `Refused`: a row is bad | writes the batch one by one: its neighbours must not suffer |
//! | `Conflict`: lost against another transaction | tries again, a little later each time |
//! | `Unknown`: the connection died during the commit | answers no caller, and tries again before all else |
//! | anything else | passes it on: nothing was written |

mod groups;
mod health;
mod new_ids;
mod task;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    sync::{Arc, RwLock},
};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use self::{health::Health, task::Stamps};
pub use self::{new_ids::NewIds, task::SETTLE_MAX};
use super::StoreError;
use crate::{
    chat::{
        Attachment, Change, Conversation, Group, GroupRefusal, Message, NewChange, NewGroup,
        NewGroupChange, NewMessage, Participants, Receipt,
    },
    clock::Clock,
    id::{AttachmentId, ChangeId, ConversationId, MessageId},
    metrics::Metrics,
    python::datetime::Timestamp,
    store::auto_now::auto_now,
    telemetry::trace::{self, Kind, Span},
    vital::Vital,
};

/// Most writes that share one transaction. Bounds the statement and how long a batch can take.
pub const BATCH_MAX: usize = 512;

/// Text in messages with which a batch is full, in bytes: what is written in one go must be
/// written in the time that a database is given to answer.
const BATCH_BYTES: usize = 8 << 20;

/// Writes that may wait while a batch is committed; past it callers wait to hand theirs over.
const QUEUE: usize = 4096;

/// One row to be written.
#[derive(Clone, Debug)]
pub enum Write {
    /// Made unless the two participants have a conversation already, in either order.
    Conversation(Conversation),
    Message(Message),
    /// The receipt as it would be inserted. An older one of the same user keeps its id and time, and
    /// a status that says more.
    Receipt(Receipt),
    /// Made unless it has been made before, or the message is gone or deleted.
    Change(NewChange),
    /// Made unless there is a group of its id.
    NewGroup(NewGroup),
    /// Made as far as the rules of groups allow it.
    GroupChange(NewGroupChange),
    /// Deletes some of the changes that are older, to save room.
    ForgetChanges(Timestamp),
    /// A message with uploads of its sender: stored with all of them, or not at all.
    Attached(Message, Vec<AttachmentId>),
    Attachments(AttachmentWrite),
}

impl Write {
    /// Returns the message that is to be stored, if it is one.
    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match self {
            Write::Message(message) | Write::Attached(message, _) => Some(message),
            _ => None,
        }
    }
}

/// A change of the table of uploads.
#[derive(Clone, Debug)]
pub enum AttachmentWrite {
    /// Adds an upload, unless those of its user would then take more bytes than these.
    Add(Box<Attachment>, u64),
    /// Gives those that were never sent to no message: from then on they cannot be sent.
    Abandon(Vec<AttachmentId>),
    Forget(Vec<AttachmentId>),
}

/// Outcome of a [`Write`].
#[derive(Clone, Debug, PartialEq)]
pub enum CommitOutcome {
    Stored,
    /// As `Stored`, under an id that the database has made.
    Numbered(MessageId),
    /// The conversation of the two (its messages are not read), and whether this write made it.
    Conversation(Conversation, bool),
    /// The receipt as it now stands in the table.
    Receipt(Receipt),
    /// The message as the change has left it.
    Changed(Box<Message>),
    /// The group as it is now, and whether this write has changed it.
    Group(Box<Group>, bool),
    /// The rules of groups are against it; nothing was written.
    GroupRefused(GroupRefusal),
    /// A message of this id was there before; nothing was written.
    Taken(Box<Message>),
    /// One of the uploads is not there, is somebody else's or has been sent; nothing was written.
    Unattached,
    /// The user's uploads would take too many bytes; nothing was written.
    Full,
    /// The row of another user id is in the way, which the database takes for this one; nothing was
    /// written.
    Alike,
    /// The conversation or message that the row belongs to does not exist, or takes no change;
    /// nothing was written.
    Missing,
}

/// Knowledge of a batch before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// None of its rows is in the tables.
    New,
    /// An earlier commit of them was not confirmed.
    Unconfirmed,
}

/// A database as the committer uses it.
pub trait Backend: Send + 'static {
    /// Writes all or nothing, in one transaction, and answers with one outcome for each write in
    /// its order. `Refused` means that the transaction was rolled back because of a bad row.
    ///
    /// The committer may come again with writes whose fate it does not know, in the same order.
    /// A row that is there already under its own id has been written then, if it has the same time:
    /// only clients choose ids that may be there before. Where the database makes them, it is known by
    /// its conversation, its sender and its time.
    fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Vec<CommitOutcome>, StoreError>> + Send;
}

/// Called with a message right after its commit. Messages are announced in the order in which they
/// were stamped and written, so what sockets hear live is in the order of the history.
///
/// It runs inside the committer: it must neither block nor panic.
pub type Announce = Box<dyn FnOnce(&Arc<Message>) + Send>;

/// As [`Announce`], with the receipt of a read mark; `None` if there is no such message.
pub type AnnounceMark = Box<dyn FnOnce(Option<&Receipt>) + Send>;

/// As [`Announce`], with a message as a change has left it.
pub type AnnounceChange = Box<dyn FnOnce(&Message) + Send>;

/// As [`Announce`], with a group as a change has left it.
pub type AnnounceGroup = Box<dyn FnOnce(&Group) + Send>;

/// Something to be written, and whom to tell.
struct PendingWrite {
    draft: Draft,
    /// When it was handed over.
    since: Instant,
    done: Done,
    /// From the handing over to the answer, if that is recorded. Ends with `done`, which has it
    /// too.
    span: Option<Span>,
}

impl PendingWrite {
    /// Returns the size of a message's text, which is what may be long.
    fn bytes(&self) -> usize {
        match &self.draft {
            Draft::Message(new) => new.content.len(),
            Draft::Ready(Write::Change(new)) => new.content.as_ref().map_or(0, String::len),
            Draft::Ready(_) => 0,
        }
    }
}

enum Draft {
    Ready(Write),
    /// Gets its id and times when it is written.
    Message(NewMessage),
}

impl Draft {
    /// Returns whether a client chose the id.
    fn has_chosen_id(&self) -> bool {
        matches!(self, Draft::Message(new) if new.id.is_some())
    }
}

type Done = Box<dyn FnOnce(Write, Result<CommitOutcome, StoreError>) + Send>;

/// The way to the one task that writes.
pub struct Committer {
    /// Taken away by [`Committer::close`], which ends the task.
    queue: RwLock<Option<mpsc::Sender<PendingWrite>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    vital: Vital,
    ids: NewIds,
    clock: Arc<Clock>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Committer {
    /// Starts the committer of `backend`. New rows get these ids.
    pub fn start(backend: impl Backend, ids: NewIds, metrics: Arc<Metrics>) -> Self {
        Committer::start_by(Arc::default(), backend, ids, metrics)
    }

    /// As [`start`](Self::start), with this clock.
    pub fn start_by(
        clock: Arc<Clock>,
        backend: impl Backend,
        ids: NewIds,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let vital = Vital::default();
        let health = Arc::<Health>::default();
        let stamps = Stamps::new(ids.clone(), Arc::clone(&clock));
        let (counts, noted) = (Arc::clone(&metrics), Arc::clone(&health));
        let run = task::run(backend, items, stamps, counts, noted);
        let task = vital.spawn("committer", run);
        Committer {
            queue: RwLock::new(Some(queue)),
            task: Mutex::new(Some(task)),
            vital,
            ids,
            clock,
            health,
            metrics,
        }
    }

    /// Returns the clock that rows are dated by.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Returns the metrics of the store.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Hands `write` over and waits for its commit.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn commit(&self, write: Write) -> Result<CommitOutcome, StoreError> {
        let (told, outcome) = oneshot::channel();
        let done: Done = Box::new(|_, outcome| {
            // A caller that has gone away no longer cares; its row is stored all the same.
            let _ = told.send(outcome);
        });
        self.hand_over(Draft::Ready(write), done).await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns the task that writes.
    pub fn vital(&self) -> &Vital {
        &self.vital
    }

    /// Returns the kind of the failure, if the last commit has failed, and lately.
    #[must_use]
    pub fn failure(&self) -> Option<&'static str> {
        self.health.failure()
    }

    /// Hands a message over and waits for its commit; `None` if its conversation is gone. Once
    /// handed over, the message is stored and announced even if the caller goes away.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended. [`StoreError::Taken`] if
    /// there is a message of the id that was chosen for it, [`StoreError::Unattached`] if an attachment
    /// cannot be sent with it.
    pub async fn insert(
        &self,
        new: NewMessage,
        announce: Announce,
    ) -> Result<Option<Arc<Message>>, StoreError> {
        let (told, outcome) = oneshot::channel();
        let done: Done = Box::new(|write, outcome| {
            let _ = told.send(match (write, outcome) {
                (
                    Write::Message(mut message) | Write::Attached(mut message, _),
                    Ok(stored @ (CommitOutcome::Stored | CommitOutcome::Numbered(_))),
                ) => {
                    if let CommitOutcome::Numbered(id) = stored {
                        message.id = id;
                    }
                    let message = Arc::new(message);
                    announce(&message);
                    Ok(Some(message))
                }
                (_, Ok(CommitOutcome::Taken(found))) => Err(StoreError::Taken(Arc::from(found))),
                (_, Ok(CommitOutcome::Unattached)) => Err(StoreError::Unattached),
                (_, outcome) => outcome.map(|_| None),
            });
        });
        self.hand_over(Draft::Message(new), done).await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns a new conversation of the two, or the one that somebody else has made meanwhile, and
    /// whether it is new.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn create_conversation(
        &self,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), StoreError> {
        let (created_at, updated_at) = auto_now(self.now(), None, || self.now());
        let conversation = Conversation {
            id: self.ids.conversation(created_at),
            participants: Participants::Pair([participant1_id, participant2_id]),
            created_at,
            updated_at,
            is_active: true,
        };
        match self.commit(Write::Conversation(conversation)).await? {
            CommitOutcome::Conversation(conversation, made) => Ok((conversation, made)),
            CommitOutcome::Alike => Err(StoreError::Alike),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the user's receipt for the message, raised to this status; `None` if there is no such
    /// message. Once handed over, the mark is stored and announced even if the caller goes away.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn mark(
        &self,
        message_id: MessageId,
        user_id: String,
        status: &str,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        let now = self.now();
        let receipt = Receipt {
            id: self.ids.receipt(now),
            message_id,
            user_id,
            status: status.to_owned(),
            timestamp: now,
        };
        let (told, outcome) = oneshot::channel();
        let done: Done = Box::new(|_, outcome| {
            let _ = told.send(outcome.and_then(|outcome| {
                let receipt = match outcome {
                    CommitOutcome::Receipt(receipt) => Some(receipt),
                    CommitOutcome::Missing => None,
                    CommitOutcome::Alike => return Err(StoreError::Alike),
                    other => return Err(unexpected(&other)),
                };
                announce(receipt.as_ref());
                Ok(receipt)
            }));
        });
        let draft = Draft::Ready(Write::Receipt(receipt));
        self.hand_over(draft, done).await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Gives a message new content, or deletes it, and returns it as it is then; `None` if it is not
    /// there or deleted. Once handed over, the change is stored and announced even if the caller goes
    /// away.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn change(
        &self,
        (conversation_id, message_id): (ConversationId, MessageId),
        content: Option<String>,
        announce: AnnounceChange,
    ) -> Result<Option<Message>, StoreError> {
        let at = self.now();
        let change = Change {
            id: self.ids.change(at),
            conversation_id,
            message_id,
        };
        let (told, outcome) = oneshot::channel();
        let done: Done = Box::new(move |_, outcome| {
            let _ = told.send(outcome.and_then(|outcome| match outcome {
                CommitOutcome::Changed(message) => {
                    announce(&message);
                    Ok(Some(*message))
                }
                CommitOutcome::Missing => Ok(None),
                other => Err(unexpected(&other)),
            }));
        });
        let new = NewChange {
            change,
            content,
            at,
        };
        self.hand_over(Draft::Ready(Write::Change(new)), done)
            .await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns the id of a new upload.
    #[must_use]
    pub fn attachment_id(&self) -> AttachmentId {
        self.ids.attachment(self.now())
    }

    /// Returns an id for a row of our own table.
    pub fn change_id(&self, at: Timestamp) -> ChangeId {
        self.ids.change(at)
    }

    fn now(&self) -> Timestamp {
        Timestamp::by(&self.clock)
    }

    /// Takes no more writes and returns when all that were handed over have been answered.
    pub async fn close(&self) {
        if let Ok(mut queue) = self.queue.write() {
            queue.take();
        }
        if let Some(task) = self.task.lock().await.take() {
            // A panic in it has been reported already.
            let _ = task.await;
        }
    }

    async fn hand_over(&self, draft: Draft, done: Done) -> Result<(), StoreError> {
        let queue = self.queue.read().ok().and_then(|queue| queue.clone());
        let since = Instant::now();
        let span = trace::step("commit", Kind::Internal);
        let done = match span.clone() {
            None => done,
            Some(span) => recorded(span, done),
        };
        let item = PendingWrite {
            draft,
            since,
            done,
            span,
        };
        let queue = queue.ok_or(StoreError::Closed)?;
        queue.send(item).await.map_err(|_| StoreError::Closed)
    }
}

/// Ends the span of a write when its caller is answered.
fn recorded(span: Span, done: Done) -> Done {
    Box::new(move |write, outcome| {
        if let Err(error) = &outcome {
            span.fail(error.label());
        }
        span.end();
        done(write, outcome);
    })
}

/// Reports an outcome that does not belong to the write: a defect of the backend, not of the
/// caller.
fn unexpected(outcome: &CommitOutcome) -> StoreError {
    StoreError::Refused(format!("unexpected outcome {outcome:?}"))
}
