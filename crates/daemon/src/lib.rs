//! The daemon: it owns the state, everything else asks it.
//!
//! Builds, shadows, states and their history live here, behind an API on a unix socket. The
//! command line is one of its clients; tests run a whole daemon in their own process
//! ([`instance::Instance`]).
//!
//! Invariants of this crate:
//! * what a client was told is committed, and a restarted daemon still knows it;
//! * killed at any instant, the next daemon removes what was left, says which builds broke and
//!   goes on with rollouts where they were;
//! * every request is bounded in size, and in time until it is read; whatever it holds, the
//!   answer is JSON and nothing panics;
//! * the end of the daemon is the end of its shadows, and never of an instance.
//!
//! | module | holds |
//! |---|---|
//! | [`instance`], [`serve`] | a whole daemon: in this process, as a program |
//! | [`daemon`], [`config`], [`lock`] | how it is put together, starts and ends |
//! | `recovery`, [`fault`] | what a killed daemon left; where a test kills one |
//! | [`builds`], [`engine`] | builds, and the seam to what builds |
//! | [`instances`] | what runs a service in production, in a process that outlives the daemon |
//! | [`shadows`], [`enter`], `terminal` | shadows, and going into them |
//! | [`machines`] | virtual machines, made ready when the first is wanted |
//! | [`primaries`] | machines held against their shadows |
//! | [`rollouts`] | candidates that get a service's requests in stages |
//! | [`states`], `textdiff` | names, files and differences of states |
//! | `exports` | states that leave |
//! | [`rerun`] | a recipe's tests on a state that exists |
//! | [`db`] | the database |
//! | [`http`], [`server`] | the API and its socket |

pub mod builds;
mod clock;
pub mod config;
mod courier;
pub mod daemon;
pub mod db;
pub mod engine;
pub mod enter;
mod exports;
pub mod fault;
pub mod http;
pub mod instance;
pub mod instances;
pub mod lock;
pub mod machines;
pub mod primaries;
mod recovery;
pub mod rerun;
pub mod rollouts;
pub mod serve;
pub mod server;
pub mod shadows;
pub mod states;
mod terminal;
mod textdiff;
