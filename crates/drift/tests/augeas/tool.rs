//! Running augtool on one file and reading what it prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::samples::Sample;

pub(crate) struct Augtool {
    program: PathBuf,
}

impl Augtool {
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path).map(|dir| dir.join("augtool"));
        program.into_iter().find(|program| program.exists()).map(|program| Self { program })
    }

    /// Every value that the sample's lens sees, by its path below the file.
    #[track_caller]
    pub(crate) fn read(&self, sample: &Sample, text: &[u8]) -> BTreeMap<String, String> {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join(&sample.path[1..]);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).expect("directories");
        fs::write(&file, text).expect("written");
        let top = format!("/files{}", sample.path);
        let transform = format!("{} incl {}", sample.lens, sample.path);
        let printed = self.print(root.path(), &transform, &top);
        if printed.is_empty() {
            let errors = self.print(root.path(), &transform, "/augeas//error");
            let text = String::from_utf8_lossy(text);
            panic!("{} does not read it: {errors}\n{text}", sample.lens);
        }
        let values = printed.lines().filter_map(|line| {
            let (path, value) = line.split_once(" = ")?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            Some((path.strip_prefix(&top)?.to_owned(), unescaped(value)))
        });
        values.collect()
    }

    #[track_caller]
    fn print(&self, root: &Path, transform: &str, path: &str) -> String {
        let mut command = Command::new(&self.program);
        command.args(["--noautoload", "--transform", transform, "--root"]).arg(root);
        let output = command.args(["print", path]).output().expect("augtool runs");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("samples are ASCII")
    }
}

/// Values are printed as strings of C; of the escapes samples have these.
fn unescaped(value: &str) -> String {
    value.replace("\\t", "\t").replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\")
}
