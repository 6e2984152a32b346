//! What a program prints, as the value of a parameter.

use std::time::Duration;

use super::run::{Program, run};
use crate::collect::context::Context;
use crate::collect::keyed;
use crate::collect::secret::Secrecy;
use crate::collect::source::{Fact, Source};
use crate::config;
use crate::format::{Format, Key};
use crate::reading::Reading;

/// A program.
#[derive(Debug)]
pub(in crate::collect) struct CommandSource {
    argv: Vec<String>,
    user: String,
    timeout: Duration,
    output_bytes_max: u64,
    key: Option<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    /// `None` if it cannot be understood.
    key: Option<Key>,
    /// `None` to tell from the output.
    format: Option<Format>,
}

impl CommandSource {
    pub(in crate::collect) fn new(
        argv: &[String],
        user: &str,
        timeout: Duration,
        output_bytes_max: u64,
        key: Option<&config::Key>,
    ) -> Self {
        let wanted = |wanted: &config::Key| Wanted {
            key: wanted.key.parse().ok(),
            format: Format::named(&wanted.format),
        };
        Self {
            argv: argv.to_vec(),
            user: user.to_owned(),
            timeout,
            output_bytes_max,
            key: key.map(wanted),
        }
    }
}

impl Source for CommandSource {
    fn read(&mut self, context: &mut Context, secrecy: &Secrecy) -> Vec<Fact> {
        let program = Program {
            argv: &self.argv,
            user: Some(&self.user),
            timeout: self.timeout,
            output_bytes_max: self.output_bytes_max,
        };
        let output = match run(&context.place, program) {
            Ok(output) => output,
            Err(why) => return Fact::unreadable(why),
        };
        let Some(wanted) = &self.key else { return Fact::whole(Reading::text(output)) };
        let format = wanted.format.unwrap_or_else(|| guess(&output));
        let reading = Reading::text(output);
        Fact::whole(keyed::under(reading, wanted.key.as_ref(), format, secrecy.is_whole()))
    }
}

/// An output has no path that tells its format: most programs print JSON or names and values.
fn guess(output: &[u8]) -> Format {
    match output.trim_ascii_start().first() {
        Some(b'{' | b'[') => Format::Json,
        _ => Format::KeyValue,
    }
}
