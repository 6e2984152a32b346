//! What samples of each tool's files become, and what holds whatever the file.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{FILE_BYTES_MAX, ImportError, Imported, Tool, parse};
use crate::config;

const SAMPLES: [(Tool, &str); 4] = [
    (Tool::Aide, include_str!("../../tests/import/aide.conf")),
    (Tool::Osquery, include_str!("../../tests/import/osquery.conf")),
    (Tool::Wazuh, include_str!("../../tests/import/ossec.conf")),
    (Tool::Goss, include_str!("../../tests/import/goss.yaml")),
];

/// What is written passes every check and is printable; a note stands in it for each that is
/// told, in the same order.
#[track_caller]
fn keeps_its_promise(tool: Tool, text: &str) -> Option<Imported> {
    let imported = match parse(tool, text) {
        Ok(imported) => imported,
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
            return None;
        }
    };
    let config = config::parse("x", &imported.text)
        .unwrap_or_else(|problems| panic!("{}\n{}", problems.render(false), imported.text));
    assert_eq!(config.parameters.len(), imported.parameters);
    assert!(!imported.text.contains(|c: char| c.is_control() && c != '\n'));
    let notes =
        imported.notes.iter().map(|note| format!("# NOTE line {}: {}", note.line, note.what));
    let comments = imported.text.lines().map(str::trim_start);
    let comments = comments.filter(|line| line.starts_with("# NOTE line"));
    assert!(notes.eq(comments.map(str::to_owned)), "{}", imported.text);
    let lines = text.lines().count() + 1;
    assert!(imported.notes.iter().all(|note| (1..=lines).contains(&note.line)));
    Some(imported)
}

#[test]
fn samples_become_configurations() {
    for (tool, sample) in SAMPLES {
        let imported = keeps_its_promise(tool, sample).expect("a configuration");
        let mut shown = imported.text;
        let _ = writeln!(
            shown,
            "\n# {} parameters, {} notes",
            imported.parameters,
            imported.notes.len()
        );
        insta::assert_snapshot!(tool.word(), shown);
    }
}

/// YAML parsers have opinions about long comments.
#[test]
fn hundreds_of_notes_in_a_row_are_no_harm() {
    let text = "report_url=stdout\n".repeat(500) + "/etc/ p\n";
    let imported = keeps_its_promise(Tool::Aide, &text).expect("a configuration");
    assert_eq!(imported.notes.len(), 500);
}

#[test]
fn a_file_without_end_is_refused() {
    let long = " ".repeat(usize::try_from(FILE_BYTES_MAX).expect("a size") + 1);
    for (tool, _) in SAMPLES {
        assert!(matches!(parse(tool, &long), Err(ImportError::TooLong)), "{}", tool.word());
    }
}

/// Pieces of all four languages, and of what each would rather not see.
const WORDS: &str = r#"( |\n|\t|/|/etc|[a-z.*?%]|\\|\[|\]|\(|\)|\{|\}|\||\$|\^|\+|=|!|-|:|,|"|'|<|>|#|//|@@define A |@@\{A\}|@@if |p\+u|%%|"file_paths"|"exclude_paths"|<syscheck>|</syscheck>|<directories>|</directories>|<ignore type="sregex">|</ignore>|file: |service: |exists: true|value: |é|\u{2028}|\u{85}|\u{0}|\u{ffff})"#;

/// A text of up to so many of them.
fn words(most: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("{WORDS}{{0,{most}}}")).expect("an expression")
}

proptest! {
    /// No bytes at all make an importer panic, or write what is no configuration.
    #[test]
    fn whatever_is_written_passes_every_check(text in words(60)) {
        for (tool, _) in SAMPLES {
            keeps_its_promise(tool, &text);
        }
    }

    /// The same of samples in which something was put in the place of something.
    #[test]
    fn changed_samples_keep_the_promise(
        which in 0..SAMPLES.len(),
        at in 0.0..1.0f64,
        length in 0..40usize,
        text in words(10),
    ) {
        let (tool, sample) = SAMPLES[which];
        let floor = |mut at: usize| {
            while !sample.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let from = floor((at * sample.len() as f64) as usize);
        let to = floor((from + length).min(sample.len())).max(from);
        keeps_its_promise(tool, &format!("{}{text}{}", &sample[..from], &sample[to..]));
    }
}
