//! Labels whose values are all known: each value is a place, so that counting looks nothing up.

/// A label of this kind.
pub trait Word: Copy + 'static {
    /// Every value, in the order of their places.
    const ALL: &'static [Self];

    /// As Prometheus shows it.
    fn text(self) -> &'static str;

    /// Returns the place in [`Word::ALL`].
    fn place(self) -> usize;
}

/// Declares such labels: enums with the text of each value.
macro_rules! words {
    ($(
        $(#[doc = $about:literal])*
        pub enum $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $text:literal,)* }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    )*};
}

words! {
    /// Type of a WebSocket frame. The frames of a message in fragments have the type of the message.
    pub enum FrameType {
        Text = "text",
        Binary = "binary",
        Close = "close",
        Ping = "ping",
        Pong = "pong",
    }

    /// Request in a frame of a client.
    pub enum Asked {
        Say = "chat_message",
        MarkRead = "mark_as_read",
        MarkDelivered = "delivered",
        Receipts = "receipts",
        Change = "change",
        Typing = "typing",
        Renew = "auth",
        Subscribe = "subscribe",
        Unsubscribe = "unsubscribe",
        History = "history",
        Unread = "unread",
        Conversations = "conversations",
        Open = "open",
        Create = "create",
        Group = "group",
        Ping = "ping",
    }

    /// Type of an event that sockets are sent.
    pub enum EventType {
        ChatMessage = "chat_message",
        MessageRead = "message_read",
        TypingStatus = "typing_status",
        /// Of the types in `layer.passthrough`.
        Other = "other",
    }

    /// Who sent an event of the channel layer.
    pub enum Sender {
        /// This process.
        Own = "own",
        /// Any other, Chatferry or Django.
        Others = "others",
    }

    /// The times of messages after the clock was behind them.
    pub enum ClockStep {
        /// They stay just after the last one.
        Held = "held",
        /// They follow the clock.
        Followed = "followed",
    }

    /// The events of the security log.
    pub enum SecurityEvent {
        /// A caller who must be known and is not.
        Identity = "identity",
        /// A caller who is known and may not do it.
        Policy = "policy",
        /// The page of another site.
        Origin = "origin",
        /// A client has reached a limit.
        Limit = "limit",
        /// A socket was closed with 1008, 1013 or 4401.
        Closed = "closed",
        /// An order to close sockets.
        Disconnect = "disconnect",
        /// Settings were read again, or refused.
        Settings = "settings",
    }

    /// Kind of a call to a worker of a hosted application.
    pub enum Call {
        Connect = "connect",
        Frame = "frame",
        Event = "event",
        Disconnect = "disconnect",
        Sleep = "sleep",
        Wake = "wake",
    }

    /// Memory that a hosted socket takes in its worker.
    pub enum Level {
        Awake = "awake",
        Parked = "parked",
        Hibernated = "hibernated",
    }

    /// Why a hosted socket came to a bad end.
    pub enum HostFailure {
        Exception = "exception",
        Late = "late",
        Lost = "lost",
        Unfit = "unfit",
    }

    /// Outcome of a request for a hosted application.
    pub enum RequestOutcome {
        Answered = "answered",
        Failed = "failed",
        Late = "late",
        Lost = "lost",
        Refused = "refused",
        Left = "left",
    }

    /// Outcome of an attempt to replace the workers of a hosted application.
    pub enum ReloadOutcome {
        Done = "done",
        Failed = "failed",
    }

    /// Outcome of an attempt to connect.
    pub enum Outcome {
        Opened = "opened",
        Failed = "failed",
    }
}

impl FrameType {
    /// The type by the first byte of a frame of ours: what goes on after a first fragment is text.
    #[must_use]
    pub fn of(first: u8) -> Self {
        match first & 0x0f {
            0x2 => FrameType::Binary,
            0x8 => FrameType::Close,
            0x9 => FrameType::Ping,
            0xa => FrameType::Pong,
            _ => FrameType::Text,
        }
    }
}

impl Outcome {
    #[must_use]
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Outcome::Opened,
            Err(_) => Outcome::Failed,
        }
    }
}
