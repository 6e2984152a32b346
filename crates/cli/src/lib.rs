//! The command line: what people and CI type, and what they see.
//!
//! Invariants of this crate:
//! * standard output is the answer, standard error the story; `--json` on every read;
//! * what comes from outside is escaped before it reaches a terminal; nothing is said by colour
//!   alone;
//! * every failure says what, why and what to do next, and has its exit code ([`error`]);
//! * screens are pure functions from events to lines ([`screen`]).
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | what can be typed |
//! | `commands` | what each command does |
//! | [`screen`] | builds, tables and differences as text |
//! | [`error`] | failures and exit codes |
//! | `tty`, `interrupt` | terminals and Ctrl-C |

pub mod args;
mod commands;
pub mod error;
mod interrupt;
pub mod screen;
mod tty;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::error::{Finish, print_error};
use crate::ui::Ui;

/// Does what the process's arguments say; the result is its exit code.
pub fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "launcher") {
        // Before anything else: it must be small and have no thread but this one.
        return commands::launcher().into();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let finish = if error.use_stderr() { Finish::Usage } else { Finish::Pass };
            // A terminal that is gone cannot be told so.
            let _ = error.print();
            return finish.into();
        }
    };
    let ui = Ui::of_process(args.json);
    match commands::run(&ui, args) {
        Ok(finish) => finish.into(),
        Err(error) => {
            print_error(&ui, &error);
            error.finish.into()
        }
    }
}
