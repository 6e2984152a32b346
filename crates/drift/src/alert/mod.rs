//! Alerts: what is told of discrepancies, to whom it was told what, and when there is quiet.
//!
//! ```text
//!                  differs                          too much news in a short time
//!   (unknown) ──────────────────────> open ─────────────────────────> flapping
//!       ^                             │  ^ differs in another way:        │
//!       │ nothing for                 │  └ told once                      │ quiet long enough,
//!       │ an hour              agrees │  ^                                │ told how it stands
//!       │                             v  │ differs: a new alert           │
//!       └──────────────────────────── over <──────────────────────────────┘
//! ```
//!
//! [`Book`] holds one [`Life`] for each item of each primary, is pure, and says what is to be
//! done as [`Effect`]s. What is to be saved and what is to be told of one event belong into one
//! transaction: then a restart ([`Book::restore`]) neither forgets nor repeats.
//!
//! | module | holds |
//! |---|---|
//! | `value` | [`Alert`]: what is told |
//! | `life` | one item's phases |
//! | `book` | all of them |
//! | `keep` | which discrepancies are the same, and how much of one is kept |
//! | `maintenance` | changes that are expected because of whose they are |
//! | `steps` | what a person can type next |

mod book;
mod keep;
mod life;
mod maintenance;
#[cfg(test)]
mod properties;
mod steps;
mod value;

pub use book::{Book, Differs, Effect, Event};
pub use life::{
    FLAP_NEWS, FLAP_WINDOW_MS, Life, Phase, REMIND_MS, REPEAT_WINDOW_MS, REPEATS, SETTLE_MS,
};
pub use maintenance::Windows;
pub use steps::next_steps;

pub(crate) use keep::{bounded, is_kept_of};
pub(crate) use steps::word;
pub use value::{Alert, Ended, Key, News, Standing, Suggestion};
