//! Receipts: who has got a message, and who has read it.

use crate::{
    id::{MessageId, ReceiptId},
    python::datetime::Timestamp,
};

/// A row of `delivery_receipts`: at most one for each message and user.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub id: ReceiptId,
    pub message_id: MessageId,
    /// As it is stored, which may differ in case from what was asked where the database's
    /// collation takes both for equal.
    pub user_id: String,
    /// `sent`, `delivered` or `read`.
    pub status: String,
    /// When the row was made; marking again does not move it.
    pub timestamp: Timestamp,
}

/// The status that marking a message as read leaves behind.
pub const READ: &str = "read";

/// The status of a message that a client has and its user has not read.
pub const DELIVERED: &str = "delivered";

/// The status that Django gives to new receipts.
pub const SENT: &str = "sent";
