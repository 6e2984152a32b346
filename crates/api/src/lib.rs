//! Wire types of umbra's API and a client for it.
//!
//! The API is HTTP/1.1 with JSON bodies on the daemon's unix socket; what a person watches
//! comes as newline-delimited JSON. What the command line can do, the API can do: the command
//! line is one of its clients.
//!
//! Invariants of this crate: wire types are plain data; a field once published keeps its
//! meaning; an error has a stable code ([`error::ErrorCode`]); nothing the other side sends
//! makes this crate panic or allocate without bound.
//!
//! | module | holds |
//! |---|---|
//! | [`build`] | asking for a build, its events, answering it |
//! | [`shadow`] | shadows, and commands and terminals in them |
//! | [`attach`] | the frames of an attached terminal |
//! | [`state`] | states, differences, exports, tests of a state |
//! | [`image`] | images, timelines, measured numbers |
//! | [`rollout`] | rollouts, and what they are told |
//! | [`daemon`] | version, health, gc, fsck |
//! | [`error`] | the wire form of a failure |
//! | [`blob`] | bytes in JSON |
//! | [`client`] | a blocking client |
//! | [`socket`] | where one is asked and told |
//! | `outside` (a feature) | a request to a server of the outside world |
//! | [`exposition`] | counters as Prometheus reads them |

pub mod attach;
pub mod blob;
pub mod build;
pub mod client;
pub mod daemon;
pub mod error;
pub mod exposition;
pub mod image;
#[cfg(feature = "outside")]
pub mod outside;
pub mod rollout;
pub mod shadow;
pub mod socket;
pub mod state;
