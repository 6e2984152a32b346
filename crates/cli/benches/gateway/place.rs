//! Where what is measured lives: a shadow that does not get in production's way by itself, and
//! this program away from the gateway's processor.
//!
//! A real shadow has a machine of its own. Here it shares a processor with the load, and has only
//! what that leaves.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use crate::peers::LOAD_CPU;
use crate::process::{Outcome, end};
use crate::shadow::{FAULTS, Fault, shadow};

/// The word by which this program becomes one.
pub(crate) const SHADOW: &str = "shadow";

/// A shadow, ended when it is dropped.
pub(crate) struct Shadow {
    process: Child,
    /// Where it is.
    pub(crate) at: String,
}

impl Shadow {
    pub(crate) fn start(fault: Fault) -> Outcome<Self> {
        let mut process = Command::new("taskset")
            .args(["-c", LOAD_CPU, "chrt", "--idle", "0"])
            .arg(std::env::current_exe()?)
            .args([SHADOW, &format!("{fault:?}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut at = String::new();
        let said = process.stdout.take().map(|out| BufReader::new(out).read_line(&mut at));
        let shadow = Self { process, at: at.trim().to_owned() };
        match said {
            Some(Ok(1..)) => Ok(shadow),
            _ => Err("the shadow does not start".into()),
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Becomes a shadow, says where it is, and goes on until it is ended.
pub(crate) fn be_shadow(fault: &str) -> Outcome {
    let mut all = [Fault::None].into_iter().chain(FAULTS);
    let fault = all.find(|one| format!("{one:?}") == fault).ok_or("no such fault")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("{}", shadow(fault).await);
        std::future::pending().await
    })
}

/// This thread, and what it starts, has the load's processor only, and wakes when it is time.
pub(crate) fn be_load() -> Outcome {
    let mut cpus = CpuSet::new();
    cpus.set(LOAD_CPU.parse()?);
    sched_setaffinity(None, &cpus)?;
    set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    Ok(())
}
