//! Raw bytes through a gateway: whatever a client or production sends, both sides read the same.

mod answers;
mod floods;
mod frames;
mod limits;
mod long;
mod message;
mod place;
mod proxy_header;
mod requests;
mod rest;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod upgrade;
