//! The component in the request path: a proxy in front of production that mirrors a part of what
//! comes to shadows, keeps it in files and sends it again.
//!
//! Invariants:
//!
//! * **Production is never harmed by a shadow.** What is copied for a shadow goes into memory that
//!   is bounded for all of them together, and nothing on production's path waits for one: where
//!   there is no room, the copy is given up.
//! * **No silent loss.** Of what was chosen to be mirrored every request is either mirrored or
//!   dropped, with its cause; what was mirrored in part is counted as truncated.
//! * **Nothing is passed on that two parties could read differently.** A request is parsed once
//!   and written anew; what speaks of one connection only stays on it.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | the program, until a signal ends it |
//! | [`gateway`] | listening, serving, going down |
//! | [`listen`] | the side clients see: TLS, limits, access log, hand-over |
//! | [`proxy`] | one request's way to production and back |
//! | [`routes`] | which target a request goes to |
//! | [`headers`] | what is of one connection, and what tells where a request is from |
//! | [`interim`] | what a target says before its answer |
//! | [`split`] | a route's sessions between two arms, and what came of them judged |
//! | [`upstream`] | connections to one target |
//! | [`stream`] | a connection's bytes |
//! | [`mirror`] | copies for shadows |
//! | [`fraction`] | which requests are copied |
//! | [`compare`] | where a shadow's answers differ from production's, and whether that is noise |
//! | [`body`] | bodies as they pass, and their copies |
//! | `chunks` | bodies in chunks, as they come |
//! | `room` | memory that copies share |
//! | [`capture`] | requests that are kept in files |
//! | [`replay`] | captured requests, sent again |
//! | [`tap`] | requests read from what passes an interface |
//! | [`control`] | the local socket that is asked and told |
//! | [`metrics`] | what is counted, for Prometheus |

pub mod body;
pub mod capture;
mod chunks;
pub mod compare;
pub mod control;
pub mod fraction;
pub mod gateway;
pub mod headers;
pub mod interim;
pub mod listen;
pub mod metrics;
pub mod mirror;
pub mod proxy;
pub mod replay;
mod room;
pub mod routes;
pub mod run;
pub mod split;
pub mod stream;
pub mod tap;
pub mod upstream;
