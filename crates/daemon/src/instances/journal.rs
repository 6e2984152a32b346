//! What is wanted, on disk: the instances that a keeper begins with.
//!
//! One file, replaced as a whole: a reader sees the old list or the new one, whatever is killed
//! and wherever power is cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umbra_api::error::{ErrorCode, WireError};

use super::InstanceSpec;

/// The version of the file's form.
const VERSION: u32 = 1;

/// A journal is no larger: some hundred instances with all that runs in them.
const BYTES_MAX: u64 = 16 << 20;

/// One instance that is to be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What it is to be.
    pub(super) spec: InstanceSpec,
    /// Where it was when it last ran, so that whoever sends it requests finds it there again.
    pub(super) address: Option<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    instances: Vec<Wanted>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The one in `dir`, which is its writer's alone.
    pub(super) fn of(dir: &Path) -> Self {
        Self { path: dir.join("wanted.json") }
    }

    /// What is wanted; nothing where nothing was ever written.
    pub(super) fn read(&self) -> Result<Vec<Wanted>, WireError> {
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("read which instances are wanted from {}", self.path.display());
            WireError::new(ErrorCode::Environment, message).caused_by(error)
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&error)),
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        parse(&bytes).map_err(|why| {
            failed(&why).with_hint("move that file away to begin without any instance")
        })
    }

    /// Makes this the list from now on. When it returns it survives a power cut.
    pub(super) fn write(&self, instances: Vec<Wanted>) -> Result<(), WireError> {
        self.replace(&Content { version: VERSION, instances }).map_err(|error| {
            let message = format!("write down which instances are wanted: {}", self.path.display());
            WireError::new(ErrorCode::Environment, message).caused_by(error)
        })
    }

    fn replace(&self, content: &Content) -> io::Result<()> {
        let bytes = serde_json::to_vec(content)?;
        if bytes.len() as u64 > BYTES_MAX {
            // It could not be read again.
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let draft = self.path.with_extension("draft");
        // A draft that somebody was killed over is written anew.
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        match self.path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Wanted>, String> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    let content: Content = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if content.version != VERSION {
        return Err(format!("it is of version {}, this umbra knows {VERSION}", content.version));
    }
    content.instances.iter().try_for_each(|wanted| wanted.spec.check()).map_err(|e| e.message)?;
    Ok(content.instances)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instances::conformance::sample;

    fn wanted(number: u8) -> Wanted {
        Wanted { spec: sample(number), address: Some(IpAddr::from([10, 213, 0, number])) }
    }

    #[test]
    fn what_was_written_is_read_and_a_draft_is_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::of(dir.path());
        assert_eq!(journal.read().expect("nothing yet"), []);
        journal.write(vec![wanted(1), wanted(2)]).expect("written");
        fs::write(dir.path().join("wanted.draft"), b"{\"version\":1,").expect("a killed writer");
        assert_eq!(journal.read().expect("the old one"), [wanted(1), wanted(2)]);
        journal.write(vec![wanted(3)]).expect("written over a draft");
        assert_eq!(journal.read().expect("the new one"), [wanted(3)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Journal::of(dir.path());
        let mut bad = wanted(1);
        bad.spec.name = "../x".to_owned();
        let bad = serde_json::to_string(&bad).expect("JSON");
        for (text, why) in [
            (String::new(), "EOF"),
            ("{}".to_owned(), "version"),
            ("{\"version\":2,\"instances\":[]}".to_owned(), "version 2"),
            ("{\"version\":1,\"instances\":[],\"more\":1}".to_owned(), "more"),
            (format!("{{\"version\":1,\"instances\":[{bad}]}}"), "../x"),
        ] {
            fs::write(&journal.path, &text).expect("written");
            let error = journal.read().expect_err("refused");
            let told = format!("{error} {:?}", error.causes);
            assert!(told.contains(why) && told.contains("wanted.json"), "{told}");
        }
    }
}
