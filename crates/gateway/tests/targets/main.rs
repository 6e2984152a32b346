//! Which target a request reaches, and in which protocol.

mod ask;
#[path = "../support/controlled.rs"]
#[allow(dead_code, reason = "it is asked with headers here")]
mod controlled;
mod early;
mod mirrored;
mod protocols;
mod proxy_header;
mod routing;
mod server;
#[path = "../support/mod.rs"]
mod support;
