//! Which target a request reaches, and in which protocol.

mod ask;
mod protocols;
mod routing;
mod server;
#[path = "../support/mod.rs"]
mod support;
