//! The seam between parameters and what they are read from.

use std::fmt;
use std::path::PathBuf;

use super::certificate::Certificate;
use super::command::CommandSource;
use super::context::Context;
use super::file_source::FileSource;
use super::kernel::Kernel;
use super::listen::Listen;
use super::memory::Memory;
use super::mount::Mount;
use super::network::Network;
use super::package::Package;
use super::secret::Secrecy;
use super::service::Service;
use super::sysctl::Sysctl;
use super::user::User;
use crate::config;
use crate::reading::Reading;

/// Reads the facts of one parameter. A reading never fails: what cannot be read says why.
pub(super) trait Source: fmt::Debug + Send {
    /// Every fact, as it is now.
    fn read(&mut self, context: &mut Context, secrecy: &Secrecy) -> Vec<Fact>;

    /// The paths inside the place that a change of them would be told by, as far as they are
    /// known.
    fn paths(&self) -> &[PathBuf] {
        &[]
    }

    /// Whether it can change without one of its paths changing.
    fn is_polled(&self) -> bool {
        true
    }
}

/// One fact of a parameter.
#[derive(Debug)]
pub(super) struct Fact {
    /// Which of several.
    pub(super) part: Option<Vec<u8>>,
    /// What it says.
    pub(super) reading: Reading,
}

impl Fact {
    /// The only one.
    pub(super) fn whole(reading: Reading) -> Vec<Self> {
        vec![Self { part: None, reading }]
    }

    /// The only one, which nobody knows.
    pub(super) fn unreadable(why: impl Into<String>) -> Vec<Self> {
        Self::whole(Reading::Unreadable { why: why.into() })
    }

    /// One of several.
    pub(super) fn part(part: &[u8], reading: Reading) -> Self {
        Self { part: Some(part.to_vec()), reading }
    }
}

/// What reads this source.
pub(super) fn source(source: &config::Source) -> Box<dyn Source> {
    use config::Source as Of;
    match source {
        Of::File { path, key, view, attributes, .. } => {
            let format = source.format(path.as_ref());
            Box::new(FileSource::new(path, key.as_ref(), format, *view, attributes))
        }
        Of::Sysctl { names } => Box::new(Sysctl::new(names)),
        Of::Command { argv, user, timeout, output_bytes_max, key } => {
            Box::new(CommandSource::new(argv, user, *timeout, *output_bytes_max, key.as_ref()))
        }
        Of::Package { package } => Box::new(Package::new(package)),
        Of::Service { unit, property } => Box::new(Service::new(unit, property.as_deref())),
        Of::Listen => Box::new(Listen),
        Of::Mount { path, fact } => Box::new(Mount::new(path.as_deref(), *fact)),
        Of::Memory { fact } => Box::new(Memory::new(*fact)),
        Of::Certificate { path, fact } => Box::new(Certificate::new(path, *fact)),
        Of::User { account } => Box::new(User::new(account)),
        Of::Network { key } => Box::new(Network::new(key)),
        Of::Kernel { fact } => Box::new(Kernel::new(*fact)),
        // Trees are walked, and never come here.
        Of::Tree { root, attributes, .. } => {
            let format = crate::format::Format::Raw;
            Box::new(FileSource::new(root, None, format, config::View::Declared, attributes))
        }
    }
}
