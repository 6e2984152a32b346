//! Asking a person what to do about a failure.

use umbra_api::build::Answer;
use umbra_api::client::Client;
use umbra_api::shadow::{AttachRequest, ExecRequest, Place};

use super::enter;
use crate::error::print_error;
use crate::tty;
use crate::ui::{Paint, Ui};

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// An answer for the build.
    Answer(Answer),
    /// A look around first.
    Shell,
}

/// The question. Where nobody can be asked here, how to answer from elsewhere.
pub(super) fn question(build: u64, shadow: bool, here: bool, paint: Paint) -> Vec<String> {
    if !here {
        return vec![format!(
            "the build waits; answer with: umbra answer {build} halt|continue|retry"
        )];
    }
    let shell = if shadow { ", [s]hell" } else { "" };
    vec![format!("{} [h]alt, [c]ontinue, [r]etry{shell}:", paint.bold("What now?"))]
}

/// What a line means, by its first letter; `None` where it means nothing.
pub(super) fn parse(line: &str) -> Option<Choice> {
    match line.trim().to_ascii_lowercase().as_str() {
        "h" | "halt" => Some(Choice::Answer(Answer::Halt)),
        "c" | "continue" => Some(Choice::Answer(Answer::Continue)),
        "r" | "retry" => Some(Choice::Answer(Answer::Retry)),
        "s" | "shell" => Some(Choice::Shell),
        _ => None,
    }
}

/// A shell in the failed shadow; whatever happens there, the question stands afterwards.
pub(super) fn shell(ui: &Ui, client: &Client, shadow: &str) {
    let exec = ExecRequest {
        place: Place::Shadow(shadow.to_owned()),
        command: enter::shell_command(Vec::new()),
        services: false,
        provider: None,
    };
    let attached = client.attach(&AttachRequest { exec, size: tty::size() });
    match attached.and_then(tty::carry) {
        Ok(tty::AttachEnd::Exit(_)) => {}
        Ok(tty::AttachEnd::Lost(why)) => ui.story(&format!("the terminal was lost: {why}")),
        Err(error) => print_error(ui, &error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_words_are_understood() {
        assert_eq!(parse("h\n"), Some(Choice::Answer(Answer::Halt)));
        assert_eq!(parse(" Continue "), Some(Choice::Answer(Answer::Continue)));
        assert_eq!(parse("R"), Some(Choice::Answer(Answer::Retry)));
        assert_eq!(parse("s"), Some(Choice::Shell));
        for line in ["", "\n", "yes", "hh"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
