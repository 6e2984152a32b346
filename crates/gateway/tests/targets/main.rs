//! Which target a request reaches, and in which protocol.

mod ask;
mod early;
mod mirrored;
mod protocols;
mod proxy_header;
mod routing;
mod server;
#[path = "../support/mod.rs"]
mod support;
