//! Carries files of this machine into a shadow for the time of a test, which is harmless since
//! every test has a view of its own. A scanner then runs where it looks: isolated like everything
//! else in the shadow, with every link and every process being the shadow's.

use std::process::Command as Program;
use std::time::Instant;

use umbra_state::Command;
use umbra_state::escape::escape;

use super::host_tool::{self, Tool};
use super::remaining;
use crate::target::{ProbeError, Target};

/// More than any scanner has with all its libraries.
const ARCHIVE_BYTES_MAX: u64 = 256 << 20;

const TAR: Tool = Tool { name: "tar", package: "tar" };

/// Makes the directory and unpacks what stands on standard input there.
const UNPACK: &str = "mkdir -p \"$1\" && exec tar -x -C \"$1\"";

/// Packs what `choose` adds to the arguments of a `tar -c` and unpacks it below `into`.
pub(super) fn carry_in(
    choose: impl FnOnce(&mut Program),
    into: &str,
    target: &dyn Target,
    deadline: Instant,
) -> Result<(), ProbeError> {
    let broke = |said: &[u8]| ProbeError::Tool {
        tool: TAR.name.to_owned(),
        detail: format!("copying into the shadow: {}", escape(said.trim_ascii())),
    };
    let prepare = |tar: &mut Program| {
        // Nobody of this machine owns anything in a shadow.
        tar.args(["-c", "--owner=0", "--group=0"]);
        choose(tar);
    };
    let packed = host_tool::run(&TAR, prepare, ARCHIVE_BYTES_MAX, deadline)?;
    if !packed.status.success() {
        return Err(broke(&packed.stderr));
    }
    let unpack = Command::new(["/bin/sh", "-c", UNPACK, "sh", into]);
    let unpack = Command { stdin: packed.stdout, ..unpack }.with_timeout(remaining(deadline));
    let unpacked = target.run(&unpack)?;
    match unpacked.exit.success() {
        true => Ok(()),
        false => Err(broke(&unpacked.stderr)),
    }
}
