//! A checked recipe as plain values.
//!
//! Variables are replaced, extensions merged, defaults filled in and inherited settings
//! resolved: what a step or service says is all there is to know about it. Serialised, a
//! recipe is a recipe file again (see [`Recipe::canonical`]); flattening happens only on the
//! way out, where it cannot ruin a message.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use umbra_document::units::{Owner, serialize};

use crate::test::Test;

/// An image's definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// The format's version: 1.
    pub version: u32,
    /// The image's name.
    pub name: String,
    /// What the first step starts from.
    pub from: Origin,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// What runs in a shadow besides the tests, in the order of starting.
    pub services: Vec<Service>,
    /// What must hold.
    pub tests: Vec<Test>,
    /// What the shadows are like.
    pub shadows: Shadows,
    /// What a failed test does to the build.
    pub on_error: OnError,
    /// Who learns about a halt and about the end of a build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
    /// Forms in which the sealed image leaves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<Export>,
}

/// What the first step starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A Debian system made by mmdebstrap.
    Debian(Debian),
    /// A directory on the building machine, as written: relative to the recipe's directory.
    Dir(String),
    /// A tar archive, likewise.
    Tar(String),
    /// An OCI image layout, likewise: `PATH` or `PATH:TAG`.
    Oci(String),
    /// A state in the store: its id, or the name of a reference.
    State(String),
}

/// A Debian system made by mmdebstrap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// Its suite.
    pub suite: String,
    /// Where its packages come from; `None` is the machine's own mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Parts of the archive.
    pub components: Vec<String>,
    /// Packages to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// mmdebstrap's variant.
    pub variant: String,
}

/// Environment variables by name.
pub type Env = BTreeMap<String, String>;

/// One change of the image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its name, unique among the steps.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// The command's variables, the recipe's own included; empty for `copy` and `write`.
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// Where the command runs; only for `run`, and `/` if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Who runs the command; only for `run`, and root if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long the step may take.
    #[serde(serialize_with = "serialize::duration")]
    pub timeout: Duration,
    /// Whether it reaches the network; always `None` for `copy` and `write`, which cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// Directories in the image that are kept from build to build and no part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<String>,
    /// Files that exist only while the step runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Whether the build goes on if the command fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_error: bool,
}

/// What a [`Step`] does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Runs a command.
    Run(CommandLine),
    /// Copies files from beside the recipe.
    Copy(Copy),
    /// Writes a file.
    Write(Write),
    /// Installs Debian packages.
    Packages(Packages),
}

/// A command as a recipe spells it; serialised as a text or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// For `/bin/sh -e`.
    Shell(String),
    /// A program and its arguments, at least the program.
    Argv(Vec<String>),
}

/// Files put into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// Path below the recipe's directory.
    pub src: String,
    /// Absolute path in the image; ending with `/`, a file keeps its name below it.
    pub dest: String,
    /// Permission bits of files; `None` keeps those on disk. Directories get them with the
    /// execute bit wherever the read bit is set.
    #[serde(serialize_with = "serialize::mode_option", skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Owner of everything copied.
    pub owner: Owner,
}

/// A file written into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// Absolute path in the image.
    pub path: String,
    /// All it holds.
    pub content: String,
    /// Permission bits.
    #[serde(serialize_with = "serialize::mode")]
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

/// Debian packages to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packages {
    /// As apt-get takes them, in the order given.
    pub names: Vec<String>,
    /// Whether package lists are fetched first.
    pub update: bool,
    /// Whether recommended packages come too.
    pub recommends: bool,
}

/// A file that exists only while a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// Its name.
    pub id: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: SecretSource,
    /// Absolute path at which the step finds it.
    pub target: String,
}

/// Where a [`Secret`] comes from, on the building machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// An environment variable of whoever asks for the build.
    Env(String),
    /// A file, as written: relative to the recipe's directory.
    File(String),
}

/// A program that runs in a shadow while tests look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name, unique among the services.
    pub name: String,
    /// The command; it stays in the foreground.
    pub run: CommandLine,
    /// The step from which on it exists; `None` is the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Who runs it; root if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its variables, the recipe's own included.
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// Where it runs; `/` if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// How to see that it can be used; as soon as it runs if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// How long it may take to be ready.
    #[serde(serialize_with = "serialize::duration")]
    pub timeout: Duration,
    /// A delta that changes a path one of these patterns meets restarts it; any delta if empty.
    /// Without a leading slash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<String>,
}

/// How to see that a [`Service`] can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// A TCP port of the shadow accepts connections.
    Port(u16),
    /// An address, seen from inside the shadow, answers with a status below 400.
    Http(String),
    /// A command in the shadow succeeds.
    Command(CommandLine),
    /// A path exists in the shadow.
    File(String),
}

/// What the shadows are like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shadows {
    /// What isolates them, by the provider's name: `sandbox` or `qemu`.
    pub provider: String,
    /// How many there are at least.
    pub min: u32,
    /// How many there are at most, not below `min`.
    pub max: u32,
    /// Memory of each in bytes.
    #[serde(serialize_with = "serialize::size_option", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processors of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes and threads of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Where shadows may connect to; nowhere if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<std::net::SocketAddr>,
    /// The first process.
    pub init: Init,
}

/// The first process in a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// A small one that starts the recipe's services and reaps.
    Services,
    /// The image's own systemd, which starts its units; then the recipe's services. States that
    /// have no systemd yet get the small one.
    Systemd,
}

/// What a failed test does to the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It ends.
    Halt,
    /// Somebody decides; where nobody can be asked, it ends.
    Ask,
    /// It goes on, and fails at its end.
    Continue,
}

/// Who learns about a halt and about the end of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    /// The standard output of whoever runs the build.
    Stdout,
    /// An address that gets a JSON document by POST.
    Webhook(String),
    /// A command on the building machine that gets a JSON document on standard input.
    Command(CommandLine),
}

/// A form in which the sealed image leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// The form.
    pub format: Format,
    /// Where to, as written: relative to the recipe's directory.
    pub path: String,
    /// How large a disk is to be; with some room if not given.
    #[serde(serialize_with = "serialize::size_option", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The form of an [`Export`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An OCI image layout.
    Oci,
    /// A tar archive.
    Tar,
    /// A directory.
    Dir,
    /// A disk that boots, as QEMU keeps it.
    Qcow2,
    /// A disk that boots, byte for byte.
    Raw,
}

impl Recipe {
    /// The whole recipe as one text that means the same: JSON, and so YAML, with variables
    /// replaced, extensions merged and defaults written out. Equal recipes have equal texts,
    /// and reading the text gives an equal recipe.
    pub fn canonical(&self) -> String {
        let mut value =
            umbra_document::schema::sorted(serde_json::to_value(self).unwrap_or_default());
        escape_references(&mut value);
        format!("{value:#}\n")
    }

    /// The place of a step among the steps.
    pub fn step_index(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The services that exist after the step at `index`.
    pub fn services_after(&self, index: usize) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(move |service| match &service.after {
            Some(step) => self.step_index(step).is_some_and(|first| first <= index),
            None => true,
        })
    }
}

impl CommandLine {
    /// The program and its arguments to run.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(script) => ["/bin/sh", "-ec", script].map(str::to_owned).to_vec(),
            Self::Argv(argv) => argv.clone(),
        }
    }
}

impl Serialize for CommandLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Shell(script) => serializer.serialize_str(script),
            Self::Argv(argv) => argv.serialize(serializer),
        }
    }
}

/// What looks like a reference is a text by now and must stay one when read again.
fn escape_references(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = text.replace("${{", "$${{"),
        serde_json::Value::Array(items) => items.iter_mut().for_each(escape_references),
        serde_json::Value::Object(map) => map.values_mut().for_each(escape_references),
        _ => {}
    }
}
