//! A route's sessions split between two arms, with real servers at both and real clients.

#[path = "../support/controlled.rs"]
#[allow(dead_code, reason = "mirrors rest elsewhere")]
mod controlled;
mod judged;
mod kept;
mod late;
mod often;
mod place;
mod rounds;
mod server;
mod shared;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "it is one route of many kinds here")]
mod support;
