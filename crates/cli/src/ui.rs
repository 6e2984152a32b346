//! Where text goes and whether it has colour.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::error::{CliError, Finish};

/// The two streams of this process.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    json: bool,
    watched: bool,
    paint: Paint,
}

/// Adds colour, or does not. Text means the same without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    colour: bool,
}

impl Ui {
    /// As the process's streams and environment say.
    pub fn of_process(json: bool) -> Self {
        let watched = std::io::stderr().is_terminal() && !in_ci();
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        let colour = !matches!(choice, anstream::ColorChoice::Never);
        Self { json, watched, paint: Paint { colour } }
    }

    /// Whether answers are to be JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether a person watches standard error, so that lines may be redrawn.
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// Whether a person can be asked.
    pub fn can_ask(&self) -> bool {
        self.watched && std::io::stdin().is_terminal()
    }

    /// Colour for standard error.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// A line of the story.
    pub fn story(&self, line: &str) {
        self.story_raw(&format!("{line}\n"));
    }

    /// Text of the story, with its own line ends. A reader that is gone is no failure.
    pub fn story_raw(&self, text: &str) {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Text of the answer; it should end with a line's end.
    pub fn answer(&self, text: &str) -> Result<(), CliError> {
        self.answer_bytes(text.as_bytes())
    }

    /// Bytes of the answer. A reader that has seen enough (`| head`) is no failure.
    pub fn answer_bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(CliError::because(Finish::Environment, "write the answer", &error))
            }
            _ => Ok(()),
        }
    }

    /// The answer as JSON where that was asked for, else as text.
    pub fn answer_with<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if self.json {
            let json = serde_json::to_string_pretty(value)
                .map_err(|error| CliError::because(Finish::Bug, "write JSON", &error))?;
            return self.answer(&format!("{json}\n"));
        }
        self.answer(&text(value))
    }
}

/// CI systems give some jobs a terminal; nobody watches it.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

impl Paint {
    /// No colour.
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// Whether there is any.
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// Something failed.
    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Something is good.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Something deserves attention.
    pub fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Something aside.
    pub fn note(self, text: &str) -> String {
        self.with("36", text)
    }

    /// Something one can leave out.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
