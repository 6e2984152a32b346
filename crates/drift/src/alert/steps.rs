//! What a person can type next.

use umbra_state::escape::escape;

use super::value::{Key, Standing};
use crate::discrepancy::Finding;
use crate::render::text::is_unprintable;

/// Commands that show, try, undo or accept a drift; fewer once it is over. Where all that was
/// found is about what is expected there is nothing to try, to undo or to accept; of a primary
/// that is not watched there is nothing but the primary to look at.
pub fn next_steps(key: &Key, standing: Standing, findings: &[Finding]) -> Vec<String> {
    let primary = word(key.primary.as_bytes());
    if findings.iter().any(|finding| matches!(finding, Finding::Unwatched { .. })) {
        return vec![format!("umbra primary show {primary}")];
    }
    let parameter = word(key.item.parameter.as_bytes());
    let mut which = format!("{primary} --parameter {parameter}");
    let path = key.item.part.as_ref().filter(|part| part.0.starts_with(b"/"));
    if let Some(path) = path {
        which = format!("{which} --path {}", word(&path.0));
    }
    let of_expectation = !findings.is_empty() && findings.iter().all(Finding::is_of_expectation);
    let forecast = || format!("umbra drift forecast {primary}");
    if standing == Standing::Resolved {
        let blame = || format!("umbra drift blame {primary} {parameter}");
        return vec![if of_expectation { forecast() } else { blame() }];
    }
    let show = format!("umbra drift show {which}");
    if of_expectation {
        return vec![show, forecast()];
    }
    vec![
        show,
        format!("umbra rehearse drift {which}"),
        format!("umbra drift rollback {which}"),
        format!("umbra drift accept {which} --reason 'WHY'"),
    ]
}

/// One word of a shell's command line. What is not printable stands there as an escape, which
/// no shell undoes: better a command that finds nothing than one that does something else.
pub(crate) fn word(bytes: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._/:@%+=-".contains(b);
    let text = if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_unprintable)) {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        escape(bytes).to_string()
    };
    if !text.is_empty() && !text.starts_with('-') && text.as_bytes().iter().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Item;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(word(bytes), expected);
    }

    #[test]
    fn words_are_one_word_to_a_shell() {
        check(b"web-1", "web-1");
        check(b"/etc/hosts", "/etc/hosts");
        check(b"two words", "'two words'");
        check(b"it's", r"'it'\''s'");
        check(b"$(reboot)", "'$(reboot)'");
        check(b"-rf", "'-rf'");
        check(b"", "''");
        check(b"a\\b", r"'a\b'");
        check("\u{202e}x".as_bytes(), r"'\u{202e}x'");
        check(b"a\x1b[2J\n", r"'a\u{1b}[2J\u{a}'");
    }

    #[test]
    fn a_path_of_a_tree_is_named() {
        let key = Key { primary: "web".into(), item: Item::part("etc", b"/etc/a b") };
        let steps = next_steps(&key, Standing::Open, &[Finding::Appeared]);
        assert_eq!(steps[2], "umbra drift rollback web --parameter etc --path '/etc/a b'");
        assert_eq!(next_steps(&key, Standing::Resolved, &[Finding::Appeared]).len(), 1);
    }

    #[test]
    fn what_is_expected_can_only_be_looked_at() {
        let key = Key { primary: "web".into(), item: Item::whole("disk") };
        let findings = [Finding::Unexpected { expected: "a number of at most 90".into() }];
        let steps = next_steps(&key, Standing::Open, &findings);
        assert_eq!(steps, ["umbra drift show web --parameter disk", "umbra drift forecast web"]);
        let over = next_steps(&key, Standing::Resolved, &findings);
        assert_eq!(over, ["umbra drift forecast web"]);
    }
}
