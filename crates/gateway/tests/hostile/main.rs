//! Raw bytes through a gateway: whatever a client or production sends, both sides read the same.

mod answers;
mod message;
mod place;
mod requests;
