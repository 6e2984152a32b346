//! What a step's result depends on besides the state it starts from: the key of its cache.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use umbra_state::Digest;

use crate::recipe::{Action, CommandLine, Copy, Env, Origin, Packages, Step, Write};

/// Begins what is hashed, so that another meaning of the same bytes gets another number.
const STEP_PREFIX: &[u8] = b"umbra step 1\n";
const ORIGIN_PREFIX: &[u8] = b"umbra origin 1\n";

impl Step {
    /// Everything in the definition that can alter the result, as bytes that are equal
    /// exactly if the definitions are. The name and the time limit cannot; nor can where a
    /// secret comes from, whose value is deliberately no part of any key.
    pub fn definition_bytes(&self) -> Vec<u8> {
        let definition = StepDefinition {
            action: ActionDefinition::of(&self.action),
            env: &self.env,
            workdir: self.workdir.as_deref(),
            user: self.user.as_deref(),
            network: self.network,
            cache: &self.cache,
            secrets: self.secrets.iter().map(|s| (s.id.as_str(), s.target.as_str())).collect(),
            continue_on_error: self.continue_on_error,
        };
        prefixed(STEP_PREFIX, &definition)
    }

    /// The digest of [`Step::definition_bytes`].
    pub fn definition_digest(&self) -> Digest {
        digest(&self.definition_bytes())
    }
}

impl Origin {
    /// The digest of the origin's definition: not of what a mirror or file holds right now.
    pub fn definition_digest(&self) -> Digest {
        digest(&prefixed(ORIGIN_PREFIX, self))
    }
}

/// Field names and their order are part of every cache key in the world: to change them,
/// raise the number in [`STEP_PREFIX`].
#[derive(Serialize)]
struct StepDefinition<'s> {
    action: ActionDefinition<'s>,
    env: &'s Env,
    workdir: Option<&'s str>,
    user: Option<&'s str>,
    network: Option<bool>,
    cache: &'s [String],
    secrets: Vec<(&'s str, &'s str)>,
    continue_on_error: bool,
}

/// Spelt out, unlike in a recipe: a script and a list of one word are different things.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ActionDefinition<'s> {
    Shell(&'s str),
    Argv(&'s [String]),
    Copy(&'s Copy),
    Write(&'s Write),
    Packages(&'s Packages),
}

impl<'s> ActionDefinition<'s> {
    fn of(action: &'s Action) -> Self {
        match action {
            Action::Run(CommandLine::Shell(script)) => Self::Shell(script),
            Action::Run(CommandLine::Argv(argv)) => Self::Argv(argv),
            Action::Copy(copy) => Self::Copy(copy),
            Action::Write(write) => Self::Write(write),
            Action::Packages(packages) => Self::Packages(packages),
        }
    }
}

fn prefixed(prefix: &[u8], definition: &impl Serialize) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    // Texts and numbers in structs, lists and maps with text keys: JSON has them all.
    let json = serde_json::to_vec(definition).unwrap_or_default();
    bytes.extend_from_slice(&json);
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}
