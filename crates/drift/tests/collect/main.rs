//! The collector on the real kernel and its files.

mod commands;
mod debian;
mod files;
mod hostile;
mod quiet;
mod sources;
mod support;
mod trees;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> std::process::ExitCode {
    let mut trials = Vec::new();
    trials.extend(files::trials());
    trials.extend(trees::trials());
    trials.extend(sources::trials());
    trials.extend(commands::trials());
    trials.extend(hostile::trials());
    trials.extend(quiet::trials());
    trials.extend(debian::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test for everybody.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// A test that needs root; elsewhere it says so and is done.
fn root_trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || -> Result<(), Failed> {
        if rustix::process::geteuid().is_root() {
            test();
        } else {
            println!("skipped: other users and namespaces need root");
        }
        Ok(())
    })
}

/// A test that root would pass whatever happens: it is run once more, as nobody.
fn nobodys_trial(name: &'static str, test: fn()) -> Trial {
    Trial::test(name, move || {
        if !rustix::process::geteuid().is_root() {
            test();
            return Ok(());
        }
        use std::os::unix::process::CommandExt;
        let mut again = std::process::Command::new(std::env::current_exe()?);
        again.args([name, "--exact"]).uid(NOBODY).gid(NOBODY);
        match again.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stdout).into_owned().into()),
            Err(error) => {
                println!("skipped: nobody may not run this program: {error}");
                Ok(())
            }
        }
    })
}

const NOBODY: u32 = 65534;
