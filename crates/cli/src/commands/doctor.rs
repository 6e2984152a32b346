//! `umbra doctor`: what this machine offers. Asks no daemon.

use umbra_daemon::config::Config;

use super::{Done, own_program};
use crate::args::machines::Machines;
use crate::error::Finish;
use crate::screen::doctor;
use crate::ui::Ui;

/// Tries everything umbra uses and says what is missing, what that costs and how to get it.
/// Lacking something is no failure of the command: umbra degrades, and says how.
pub(super) fn doctor(ui: &Ui, config: &Config, machines: Machines) -> Done {
    let machines = machines.options(&own_program()?);
    let machines = umbra_shadow::probe::Machines {
        kernel: machines.kernel,
        guest: machines.guest,
        translate: machines.translate,
        cache: config.kernels(),
    };
    let probes = umbra_shadow::probe::report(&config.store(), &machines);
    ui.answer_with(&probes, |probes| doctor::lines(probes))?;
    Ok(Finish::Pass)
}
