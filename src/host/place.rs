//! The place of a hosted socket: among those of its worker, among the channels, in its groups.
//! Given up when it is dropped, however the socket ends.

use std::sync::Arc;

use tokio::{runtime::Handle, time::sleep};

use super::{Host, groups::Channel, link::WorkerLink, lock, mailbox::Mailbox, wire::Down};
use crate::{hub::queue, layer::redis::codec::msgpack, value::Value, ws::ending::GONE};

/// The place of a socket: among those of its worker, among the channels, in its groups.
pub struct WorkerPlace {
    pub host: Arc<Host>,
    pub link: Arc<WorkerLink>,
    pub number: u64,
    pub mailbox: Arc<Mailbox>,
    /// The worker has let go of it.
    pub ended: bool,
    /// The code that the application gets at the end.
    pub code: Option<u16>,
    reported: bool,
}

/// Registers a socket at the worker with the fewest; `None` if there is none.
fn join(host: &Host, number: u64, mailbox: &Arc<Mailbox>) -> Option<Arc<WorkerLink>> {
    loop {
        let link = host.worker()?;
        // One that is gone is not chosen again.
        if link.register(number, mailbox) {
            return Some(link);
        }
    }
}

impl WorkerPlace {
    /// Returns a place at the worker with the fewest sockets; `None` if there is none.
    pub fn enter(host: &Arc<Host>, limits: queue::QueueLimits) -> Option<Self> {
        let number = host.number();
        let mailbox = Arc::new(Mailbox::new(limits, host.capacity()));
        let link = join(host, number, &mailbox)?;
        lock(&host.sockets).insert(number, Arc::clone(&mailbox));
        Some(WorkerPlace {
            host: Arc::clone(host),
            link,
            number,
            mailbox,
            ended: false,
            code: Some(GONE),
            reported: false,
        })
    }

    /// Moves to the worker with the fewest sockets. Returns `false` if there is none.
    pub fn change_worker(&mut self) -> bool {
        // It may still count there, if nothing was asked of it.
        self.link.forget(self.number);
        let link = join(&self.host, self.number, &self.mailbox);
        link.is_some_and(|link| {
            self.link = link;
            true
        })
    }

    /// The worker has let go of it already.
    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// Tells the application, once, that the socket is closed, with the code of the client's close
    /// frame, which need not have one.
    pub fn say_closed(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let code = self
            .code
            .map_or(Value::Null, |code| Value::Int(code.into()));
        let mut body = Vec::new();
        // A number of 16 bits is never refused.
        let _ = msgpack::write(&mut body, &code);
        self.link.send(Down::Closed, self.number, &body);
    }
}

impl Drop for WorkerPlace {
    fn drop(&mut self) {
        lock(&self.host.sockets).remove(&self.number);
        self.mailbox.close();
        let (host, link, number) = (Arc::clone(&self.host), Arc::clone(&self.link), self.number);
        let ended = self.ended;
        if !ended {
            self.say_closed();
        }
        let channel = Channel::Socket(number);
        let is_member = host.groups().has(channel);
        if let Ok(handle) = Handle::try_current()
            && (is_member || !ended)
        {
            handle.spawn(async move {
                host.groups().leave_all(&**host.layer(), channel).await;
                if !ended {
                    sleep(host.call_timeout()).await;
                    link.forget(number);
                }
            });
        }
    }
}
