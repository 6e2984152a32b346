//! Recipes: what an image is made of and what must hold on the way, read from `umbra.yaml`.
//!
//! A file becomes a tree that knows where everything stands, variables are replaced, the
//! tree is held against the shapes, and only a tree without a mistake becomes a [`Recipe`].
//!
//! Invariants of this crate:
//! * all problems of a file are reported together, each with its place and what was expected;
//! * one table describes the form: the parser, the JSON Schema and the suggestions share it;
//! * whatever the bytes, reading ends, in bounded memory and without a panic;
//! * nothing outside the recipe's directory is read for `copy`, `goss` or `extends`;
//! * a secret's value is never read, printed or hashed here.
//!
//! | reading | |
//! |---|---|
//! | [`load`], [`check_file`], [`parse`] | file or text to [`Recipe`], or all [`Problems`] |
//! | [`diagnostic`] | [`Problems`], [`Diagnostic`], [`Label`]: plain, serialisable |
//! | [`schema()`], [`init_template`] | for editors and beginners |
//!
//! | using | |
//! |---|---|
//! | [`recipe`] | [`Recipe`], [`Step`], [`Service`], [`Shadows`] and so on |
//! | [`scenario`] | what simulated users do, as a file of its own |
//! | [`mod@test`] | tests as a recipe spells them; [`Recipe::suite`] makes them ready to run |
//! | [`Step::definition_digest`], [`Step::inputs`] | what a step's cached result depends on |

#[cfg(test)]
mod agreement;
mod definition;
mod extend;
mod extract;
mod files;
mod formats;
mod inputs;
mod load;
pub mod recipe;
pub mod scenario;
mod schema;
mod semantic;
mod shapes;
mod suite;
mod template;
pub mod test;
mod url;
mod vars;

pub use files::ReadError;
pub use inputs::{Input, InputKind, Inputs, InputsError};
pub use load::{FILE_BYTES_MAX, Overrides, base_dir, check_file, load, parse};
pub use recipe::{
    Action, CommandLine, Copy, Debian, Env, Export, Format, Init, Notify, OnError, Origin,
    Packages, Ready, Recipe, Secret, SecretSource, Service, Shadows, Step, Write,
};
pub use schema::{SCHEMA_FILE, schema};
pub use suite::{SuiteError, command};
pub use template::init_template;
pub use test::Test;
pub use umbra_document::diagnostic::{self, Diagnostic, Label, Problems, Severity};
pub use umbra_document::units::Owner;
