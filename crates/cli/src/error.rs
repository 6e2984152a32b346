//! Failures and exit codes.

use std::fmt::Write as _;
use std::process::ExitCode;

use umbra_api::client::ClientError;
use umbra_api::error::{ErrorCode, WireError};
use umbra_state::Verdict;
use umbra_state::escape::{escape, escape_output};

use crate::ui::Ui;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// What was asked for is done, and good.
    Pass,
    /// Looked, and it is bad.
    Fail,
    /// The command or a recipe makes no sense.
    Usage,
    /// Something around it failed or is missing.
    Environment,
    /// Nobody can say: too little evidence, or cancelled.
    Inconclusive,
    /// A defect of umbra.
    Bug,
    /// The exit code of a command that ran inside a shadow.
    Command(u8),
}

impl Finish {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Inconclusive => 4,
            Self::Bug => 70,
            Self::Command(code) => code,
        }
    }
}

impl From<Verdict> for Finish {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

impl From<Finish> for ExitCode {
    fn from(finish: Finish) -> Self {
        Self::from(finish.code())
    }
}

/// A failure with everything a person needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// The exit code.
    pub finish: Finish,
    /// A fragment that reads on after "failed to".
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl CliError {
    /// A failure with this sentence.
    pub fn new(finish: Finish, message: impl Into<String>) -> Self {
        Self { finish, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// A failure with the sentences of `error` below `message`.
    pub fn because(
        finish: Finish,
        message: impl Into<String>,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        Self { causes: chain(error), ..Self::new(finish, message) }
    }

    /// The same failure with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

impl From<WireError> for CliError {
    fn from(error: WireError) -> Self {
        let finish = match error.code {
            ErrorCode::BadRequest
            | ErrorCode::BadRecipe
            | ErrorCode::BadConfig
            | ErrorCode::TooLarge => Finish::Usage,
            ErrorCode::NotFound | ErrorCode::Ambiguous | ErrorCode::Conflict => Finish::Usage,
            ErrorCode::Internal => Finish::Bug,
            ErrorCode::Timeout
            | ErrorCode::Unsupported
            | ErrorCode::Environment
            | ErrorCode::ShuttingDown
            | ErrorCode::Unknown => Finish::Environment,
        };
        Self { finish, message: error.message, causes: error.causes, hint: error.hint }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let mut sentences = chain(&error);
        let message = if sentences.is_empty() { String::new() } else { sentences.remove(0) };
        let failure = Self { causes: sentences, ..Self::new(Finish::Environment, message) };
        match error {
            ClientError::Refused(refused) => refused.into(),
            ClientError::Connect { source, .. } => failure.with_hint(connect_hint(&source)),
            ClientError::Answer(_) | ClientError::NotUpgraded { .. } => failure.with_hint(
                "compare `umbra version` with the daemon's; restart the daemon after an update",
            ),
            _ => failure.with_hint("the daemon may have ended; its log says why"),
        }
    }
}

fn connect_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "the daemon belongs to another user: run umbra as that user or as root"
        }
        _ => {
            "no daemon runs there; start one with `umbra serve` (as root, in another terminal or \
             as a service), or name its socket with --socket or UMBRA_SOCKET"
        }
    }
}

/// Prints a failure to standard error.
pub fn print_error(ui: &Ui, error: &CliError) {
    ui.story_raw(&render(error, ui.paint()));
}

/// A failure as text: what, causes indented, advice last.
pub fn render(error: &CliError, paint: crate::ui::Paint) -> String {
    let mut lines = error.message.lines();
    let first = escape(lines.next().unwrap_or_default().as_bytes()).to_string();
    let mut text = format!("{} failed to {first}\n", paint.bad("error:"));
    for line in lines {
        let _ = writeln!(text, "{}", escape_output(line.as_bytes()));
    }
    for cause in &error.causes {
        for (index, line) in cause.lines().enumerate() {
            let lead = if index == 0 { "  because: " } else { "    " };
            let _ = writeln!(text, "{lead}{}", escape_output(line.as_bytes()));
        }
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(text, "{} {}", paint.note("hint:"), escape_output(hint.as_bytes()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Paint;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let error = CliError {
            finish: Finish::Environment,
            message: "reach the daemon at /run/umbra/umbra.sock".into(),
            causes: vec!["No such file \x1b[2J".into()],
            hint: Some("start one".into()),
        };
        insta::assert_snapshot!(render(&error, Paint::plain()), @r"
        error: failed to reach the daemon at /run/umbra/umbra.sock
          because: No such file \u{1b}[2J
        hint: start one
        ");
    }

    #[test]
    fn wire_codes_become_exit_codes() {
        let code = |code| CliError::from(WireError::new(code, "x")).finish.code();
        let codes: Vec<u8> = ErrorCode::ALL.into_iter().map(code).collect();
        assert_eq!(codes, [2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 70]);
    }
}
