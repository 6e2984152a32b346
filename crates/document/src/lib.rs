//! Documents that people write, such as recipes and drift configurations, read strictly.
//!
//! A text becomes a tree that knows where everything stands, the tree is held against a
//! table of shapes, and every mistake becomes a problem with its place and with what was
//! expected. What the keys mean is the business of the crate whose documents they are.
//!
//! Invariants of this crate:
//! * all problems of a document are reported together, in the order of its text;
//! * one table describes the form: the check, the JSON Schema and the suggestions share it;
//! * whatever the bytes, reading ends, in bounded memory and without a panic;
//! * text from outside is escaped before it becomes part of a message.
//!
//! | reading | |
//! |---|---|
//! | [`file`](mod@file) | a text file, whole and bounded |
//! | [`yaml`], [`source`], [`scalar`] | the tree, where its values stand, what they are |
//! | [`check`](mod@check), [`names`] | the tree against its shape; names that must differ |
//! | [`take`] | from a checked tree to plain values |
//! | [`whole`] | all of it, for documents that are one file |
//!
//! | describing | |
//! |---|---|
//! | [`shape`], [`formats`], [`units`] | which keys there are, and the forms of texts |
//! | [`schema`] | the same as JSON Schema |
//! | `laws` (a feature) | that check and schema agree, for the tests of each kind of document |
//!
//! | reporting | |
//! |---|---|
//! | [`diagnostic`] | [`Problems`], [`Diagnostic`], [`Label`]: plain, serialisable, rendered |
//! | [`suggest`] | "did you mean" |

pub mod check;
pub mod diagnostic;
pub mod file;
pub mod formats;
#[cfg(any(test, feature = "laws"))]
pub mod laws;
pub mod names;
mod render;
pub mod scalar;
pub mod schema;
pub mod shape;
pub mod source;
pub mod suggest;
pub mod take;
pub mod units;
pub mod whole;
pub mod yaml;

pub use diagnostic::{Diagnostic, Found, Label, Problem, Problems};
