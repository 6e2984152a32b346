//! Reads goss files from disk, with what they include.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use umbra_state::escape::escape;

use super::parse::{Include, latest, parse_with_includes};
use super::{GossFile, GossProblem};

const FILE_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: usize = 200;
const DEPTH_MAX: usize = 10;

/// Why a goss file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GossLoadError {
    /// A file cannot be read.
    #[error("read goss file {path}")]
    Read {
        /// Which, escaped.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in the files is wrong.
    #[error("understand goss file: {}", list(.0))]
    Problems(Vec<GossProblem>),
}

fn list(problems: &[GossProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(GossProblem::to_string).collect();
    lines.join("; ")
}

impl GossFile {
    /// Reads a file and everything it includes, relative to the including file.
    pub fn load(path: &Path) -> Result<Self, GossLoadError> {
        let mut loader = Loader { files: 0, file: Self { resources: Vec::new() } };
        loader.load(path, 0)?;
        Ok(Self { resources: latest(loader.file.resources) })
    }
}

struct Loader {
    files: usize,
    file: GossFile,
}

impl Loader {
    fn load(&mut self, path: &Path, depth: usize) -> Result<(), GossLoadError> {
        let shown = escape(path.as_os_str().as_encoded_bytes()).to_string();
        self.files += 1;
        let text =
            read(path).map_err(|source| GossLoadError::Read { path: shown.clone(), source })?;
        let (file, includes) =
            parse_with_includes(&shown, &text).map_err(GossLoadError::Problems)?;
        self.file.resources.extend(file.resources);
        let folder = path.parent().unwrap_or(Path::new("."));
        for include in includes {
            let refuse = |message: String| {
                let (line, column) = (include.line, include.column);
                let problem = GossProblem { file: shown.clone(), line, column, message };
                GossLoadError::Problems(vec![problem])
            };
            if depth >= DEPTH_MAX || self.files >= FILES_MAX {
                let limits = format!(
                    "files are included deeper than {DEPTH_MAX}, or more than {FILES_MAX} of them"
                );
                return Err(refuse(limits));
            }
            let paths = matching(folder, &include).map_err(|error| refuse(error.to_string()))?;
            if paths.is_empty() {
                return Err(refuse("no file matches this".to_owned()));
            }
            for path in paths {
                self.load(&path, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The files an include stands for: one, or those of one folder that match its pattern.
fn matching(folder: &Path, include: &Include) -> io::Result<Vec<PathBuf>> {
    let path = folder.join(&include.file);
    if !include.file.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let (parent, pattern) = (path.parent().unwrap_or(folder), path.file_name().unwrap_or_default());
    let glob = GlobBuilder::new(&pattern.to_string_lossy())
        .literal_separator(true)
        .build()
        .map_err(io::Error::other)?
        .compile_matcher();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if glob.is_match(entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn includes_are_read_and_later_files_win() {
        let dir = tempfile::tempdir().expect("tempdir");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect(name);
        fs::create_dir(dir.path().join("goss.d")).expect("mkdir");
        write(
            "goss.yaml",
            "gossfile:\n  goss.d/*.yaml: {}\n  gone.yaml: {skip: true}\nuser:\n  root: {exists: true}\n",
        );
        write("goss.d/a.yaml", "file:\n  /etc/passwd: {exists: true}\n");
        write("goss.d/b.yaml", "file:\n  /etc/passwd: {exists: false}\n");
        write("goss.d/c.txt", "nonsense");
        let goss = GossFile::load(&dir.path().join("goss.yaml")).expect("load");
        assert_eq!(goss.resources.len(), 2);
        assert_eq!(goss.resources[1].attributes["exists"].to_string(), "false");
    }

    #[test]
    fn circles_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("goss.yaml");
        fs::write(&path, "gossfile:\n  goss.yaml: {}\n").expect("write");
        let error = GossFile::load(&path).expect_err("a circle").to_string();
        assert!(error.contains("included deeper than 10"), "{error}");
        fs::write(&path, "gossfile:\n  none*.yaml: {}\n").expect("write");
        let error = GossFile::load(&path).expect_err("nothing").to_string();
        assert!(error.ends_with("goss.yaml:2:3: no file matches this"), "{error}");
        assert!(matches!(GossFile::load(&dir.path().join("x")), Err(GossLoadError::Read { .. })));
    }
}
