//! The version and status of a package.

use std::path::PathBuf;
use std::time::Duration;

use super::command::{Program, find, run};
use super::context::Context;
use super::packages::status::{Installed, PATH};
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::reading::Reading;

/// A package by name, or by `NAME:ARCHITECTURE`.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    paths: [PathBuf; 1],
}

impl Package {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), paths: [PATH.into()] }
    }
}

impl Source for Package {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        let Context { place, status, .. } = context;
        match status.packages(place) {
            Ok(Some(packages)) => {
                let (name, architecture) = match self.name.split_once(':') {
                    Some((name, architecture)) => (name, Some(architecture.as_bytes())),
                    None => (self.name.as_str(), None),
                };
                let all = packages.get(name.as_bytes()).map(Vec::as_slice).unwrap_or_default();
                let wanted = |package: &&Installed| {
                    architecture.is_none_or(|architecture| package.architecture == architecture)
                };
                let lines: Vec<Vec<u8>> = all.iter().filter(wanted).map(line).collect();
                if lines.is_empty() {
                    return Fact::whole(Reading::Absent);
                }
                Fact::whole(Reading::text(lines.concat()))
            }
            Ok(None) => self.ask_rpm(context),
            Err(why) => Fact::unreadable(why),
        }
    }

    fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Package {
    fn ask_rpm(&self, context: &Context) -> Vec<Fact> {
        let Some(rpm) = find(&context.place, "rpm") else {
            return Fact::unreadable("neither dpkg nor rpm has a list of packages there");
        };
        let query = "%{VERSION}-%{RELEASE} %{ARCH} installed\\n";
        let argv: Vec<String> =
            [rpm.as_str(), "-q", "--qf", query, "--", &self.name].map(str::to_owned).to_vec();
        let program = Program {
            argv: &argv,
            user: None,
            timeout: Duration::from_secs(10),
            output_bytes_max: 64 << 10,
        };
        match run(&context.place, program) {
            Ok(output) => Fact::whole(Reading::text(output)),
            // The only failure that is an answer: it says so on its output, and ends with 1.
            Err(why) if why.ends_with("failed with 1") => Fact::whole(Reading::Absent),
            Err(why) => Fact::unreadable(why),
        }
    }
}

/// Such as `5.2.15-2+b8 amd64 install ok installed`.
fn line(package: &Installed) -> Vec<u8> {
    let words = [&package.version[..], &package.architecture, &package.status];
    let mut line = words.join(&b' ');
    line.push(b'\n');
    line
}
