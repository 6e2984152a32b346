//! Raw bytes through a gateway: whatever a client or production sends, both sides read the same.

mod answers;
mod floods;
mod frames;
mod long;
mod message;
mod place;
mod requests;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
