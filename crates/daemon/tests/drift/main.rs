//! Primaries as a client meets them: a directory as the machine, an agent on a thread, and
//! servers that are told.

#![allow(clippy::unwrap_used)]

mod hook;
mod scene;
#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod api;
mod packages;
mod unasked;
mod unwatched;
