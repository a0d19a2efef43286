//! Writing: one batch, one transaction, one statement for all messages of it.
//!
//! This file knows what becomes of a batch when something goes wrong; [`session`] says it to the
//! server, in the words of [`statement`].

mod session;
mod statement;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_async::Error;
use tokio::time::timeout;

pub use self::statement::MysqlStatements;

use self::session::{BatchStage, Session};
use super::{
    options::Options,
    pool::{MysqlPool, is_lost},
};
use crate::store::{
    StoreError,
    commit::{Attempt, Backend, CommitOutcome, Write},
};

/// A connection that has been quiet for longer is asked whether it lives before it is trusted with
/// a batch: what dies unnoticed before a batch must not leave the batch in doubt.
const QUIET: Duration = Duration::from_millis(1);

/// The one connection that writes. It belongs to the committer, and is opened again after an
/// error that may have broken it.
pub struct MysqlWriter {
    options: Arc<Options>,
    statements: Arc<MysqlStatements>,
    /// True if the tables have their foreign keys. Without them parents are looked up first.
    foreign_keys: bool,
    session: Option<Session>,
    /// Those that read, of which one ends if there would be too many.
    readers: Arc<MysqlPool>,
}

impl MysqlWriter {
    pub fn new(
        options: Arc<Options>,
        statements: MysqlStatements,
        foreign_keys: bool,
        readers: Arc<MysqlPool>,
    ) -> Self {
        MysqlWriter {
            options,
            statements: Arc::new(statements),
            foreign_keys,
            session: None,
            readers,
        }
    }

    async fn session(&mut self) -> Result<Session, StoreError> {
        if let Some(mut session) = self.session.take()
            && (session.used.elapsed() < QUIET || session.lives().await)
        {
            return Ok(session);
        }
        let began = tokio::time::Instant::now();
        loop {
            let opened = Session::open(&self.options, &self.statements, self.foreign_keys).await;
            if let Some(session) = self.readers.room_for(opened, began).await? {
                return Ok(session);
            }
        }
    }
}

impl Backend for MysqlWriter {
    async fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        _: Attempt,
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        let mut session = self.session().await?;
        let write = timeout(self.options.write_timeout, session.write(&batch)).await;
        let committing = session.stage == BatchStage::Committing;
        match write {
            Ok(Ok(outcomes)) => {
                session.used = Instant::now();
                self.session = Some(session);
                Ok(outcomes)
            }
            Ok(Err(WriteFailure::Sql(error))) if is_lost(&error) && committing => {
                Err(StoreError::Unknown(error.to_string()))
            }
            // The next try opens a connection, and hears it if there is no server any more.
            Ok(Err(WriteFailure::Sql(error))) if is_lost(&error) => {
                Err(StoreError::Conflict(error.to_string()))
            }
            Ok(Err(failure)) => {
                let error = StoreError::from(failure);
                // A server that will not write may no longer be the one the address leads to.
                if !matches!(error, StoreError::Unavailable(_))
                    && let Ok(Ok(())) =
                        timeout(self.options.connect_timeout, session.give_up()).await
                {
                    self.session = Some(session);
                }
                Err(error)
            }
            Err(_) if committing => Err(StoreError::Unknown("writing took too long".into())),
            Err(_) => Err(StoreError::Unavailable("writing took too long".into())),
        }
    }
}

/// Why a batch was not written.
pub enum WriteFailure {
    Sql(Error),
    Store(StoreError),
}

impl From<Error> for WriteFailure {
    fn from(error: Error) -> Self {
        WriteFailure::Sql(error)
    }
}

impl From<StoreError> for WriteFailure {
    fn from(error: StoreError) -> Self {
        WriteFailure::Store(error)
    }
}

impl From<WriteFailure> for StoreError {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Sql(error) => error.into(),
            WriteFailure::Store(error) => error,
        }
    }
}
