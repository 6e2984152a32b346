//! A benchmark of this machine, carried into a shadow: its file, and those beside it that a
//! benchmark which is no data stream refers to.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command as Program;
use std::time::Instant;

use super::CONTENT;
use crate::check::carry::carry_in;
use crate::check::xml::{Walk, XmlError};
use crate::target::{ProbeError, Target};

const BYTES_MAX: u64 = 128 << 20;
const FILES_MAX: usize = 100;

/// Carries it in; returns its path there.
pub(super) fn carry(
    benchmark: &Path,
    target: &dyn Target,
    deadline: Instant,
) -> Result<String, ProbeError> {
    let read = |source| ProbeError::Host { what: "read the benchmark", source };
    let mut bytes = Vec::new();
    let file = File::open(benchmark).map_err(read)?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(read)?;
    let malformed = |detail: String| ProbeError::Malformed {
        what: format!("the benchmark {}", benchmark.display()),
        detail,
    };
    let others = referred(&bytes).map_err(|error| malformed(error.to_string()))?;
    let dir = benchmark.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    let name =
        benchmark.file_name().ok_or_else(|| malformed("its path names no file".to_owned()))?;
    let choose = |tar: &mut Program| {
        tar.arg("--dereference").arg("-C").arg(dir).arg("--").arg(name);
        tar.args(others.iter().filter(|other| dir.join(other).is_file() && name != other.as_str()));
    };
    carry_in(choose, CONTENT, target, deadline)?;
    Ok(format!("{CONTENT}/{}", name.to_string_lossy()))
}

/// The files a benchmark's checks are in, as far as they are plain names. A data stream has
/// them inside itself.
fn referred(xml: &[u8]) -> Result<BTreeSet<String>, XmlError> {
    let mut walk = Walk::new(xml)?;
    let mut names = BTreeSet::new();
    while let Some(item) = walk.next()? {
        match item.name() {
            Some("data-stream-collection") => break,
            Some("check-content-ref") => {
                let name = item.attribute("href").filter(|name| is_plain(name));
                names.extend(name.map(str::to_owned));
            }
            _ => {}
        }
        if names.len() > FILES_MAX {
            return Err(walk.unexpected(format!("its checks are in more than {FILES_MAX} files")));
        }
    }
    Ok(names)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', ':', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_beside_a_benchmark_are_found() {
        let text = "<Benchmark><Rule><check><check-content-ref href=\"oval.xml\" name=\"a\"/>\
            <check-content-ref href=\"../../etc/passwd\"/><check-content-ref href=\"#a\"/>\
            <check-content-ref href=\"oval.xml\"/></check></Rule></Benchmark>";
        let names = referred(text.as_bytes()).expect("read");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["oval.xml"]);
        let stream = "<ds:data-stream-collection><check-content-ref href=\"a.xml\"/>\
            </ds:data-stream-collection>";
        assert!(referred(stream.as_bytes()).expect("read").is_empty());
        assert!(referred(b"no XML").is_err());
    }
}
