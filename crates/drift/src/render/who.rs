//! Who made a change, in a line or two.

use std::os::unix::ffi::OsStrExt;

use umbra_state::escape::line;

use super::secret::mask_argv;
use super::time::rfc3339;
use crate::discrepancy::Attribution;
use crate::watch::who::{Class, Program, Writer};

const WORDS_MAX: usize = 64;
const CHARS_MAX: usize = 200;
/// Writers told one by one.
const WRITERS_MAX: usize = 4;

/// The program's file: of a script the script.
pub(crate) fn program_name(program: &Program) -> Option<String> {
    let file = program.script.as_ref().or(program.exe.as_ref())?;
    Some(line(file.as_os_str().as_bytes(), CHARS_MAX))
}

/// The words of the command line, printable, secrets hidden.
pub(crate) fn argv(writer: &Writer) -> Vec<String> {
    let words = writer.argv.iter().take(WORDS_MAX);
    let words: Vec<String> = words.map(|word| line(word.as_bytes(), CHARS_MAX)).collect();
    mask_argv(&words)
}

/// Sentences that say who, one for each writer; the time where nobody saw it.
pub(super) fn sentences(attribution: Option<&Attribution>) -> Vec<String> {
    let Some(attribution) = attribution else { return vec!["nobody saw who".to_owned()] };
    if attribution.writers.is_empty() {
        let when = attribution.after_ms.map_or_else(
            || format!("before {}", rfc3339(attribution.seen_at_ms)),
            |after| format!("between {} and {}", rfc3339(after), rfc3339(attribution.seen_at_ms)),
        );
        return vec![format!("nobody saw who, {when}")];
    }
    let mut said: Vec<String> =
        attribution.writers.iter().take(WRITERS_MAX).map(sentence).collect();
    let more = (attribution.writers.len() - said.len()) as u64 + attribution.more_writers;
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said
}

fn sentence(writer: &Writer) -> String {
    let name = program_name(&writer.program).unwrap_or_else(|| "an unknown program".to_owned());
    let mut text = format!("{name} (pid {}", writer.pid);
    if let Some(uid) = writer.uid {
        text.push_str(&format!(", uid {uid}"));
    }
    if let Some(login) = writer.login_uid.filter(|login| Some(*login) != writer.uid) {
        text.push_str(&format!(", logged in as {login}"));
    }
    text.push(')');
    let argv = argv(writer).join(" ");
    if !argv.is_empty() {
        text.push_str(&format!(": {argv}"));
    }
    let parents: Vec<String> = writer.parents.iter().filter_map(program_name).take(6).collect();
    if !parents.is_empty() {
        text.push_str(&format!(" < {}", parents.join(" < ")));
    }
    let origin = &writer.origin;
    let places =
        [("unit", &origin.unit), ("session", &origin.session), ("container", &origin.container)];
    for (kind, name) in places {
        if let Some(name) = name {
            text.push_str(&format!(", {kind} {}", line(name.as_bytes(), CHARS_MAX)));
        }
    }
    match &writer.class {
        Class::PackageManager(name) => {
            text.push_str(&format!(", package manager {}", line(name.as_bytes(), CHARS_MAX)));
        }
        Class::ConfigurationManager(name) => {
            text.push_str(&format!(", configuration manager {}", line(name.as_bytes(), CHARS_MAX)));
        }
        Class::Unexplained => {}
    }
    text
}
