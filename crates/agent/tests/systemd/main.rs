//! Rollbacks that wait for their confirmation, on a Debian that its own systemd runs: whoever
//! began one is gone by then, so that everything hangs on what systemd was told.
//!
//! The binary is its shadows' launcher. The cases share one Debian and thus one test: to make
//! it takes longer than all of them.

mod agent;
mod debian;
mod machine;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use umbra_drift::rollback::Outcome;
use umbra_drift::wire::Ask;
use umbra_shadow::Shadow;

use agent::{answer, roll_back};
use machine::{BAD, GOOD, Machine, sh, until};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    let trials = vec![Trial::test("systemd_undoes_what_nobody_confirms", trial)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial() -> Result<(), Failed> {
    let machine = match Machine::new() {
        Ok(machine) => machine,
        Err(missing) => {
            println!("skipped: {missing}");
            return Ok(());
        }
    };
    confirmed(&machine);
    nobody_confirms(&machine);
    restarted(&machine);
    Ok(())
}

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(3600);

fn confirmed(machine: &Machine) {
    let shadow = machine.boot("confirmed");
    wait_on(&*shadow, "good", LONG);
    let armed = said(&*shadow, "systemctl list-timers --all --no-legend 'umbra-*'");
    assert!(armed.contains("umbra-expire-good.timer"), "{armed}");
    assert_eq!(answer(&*shadow, Ask::Confirm { id: "good".to_owned() }), Outcome::Done);
    assert_eq!(said(&*shadow, "cat /etc/beacon.conf"), GOOD);
    assert_eq!(said(&*shadow, "cat /run/seen"), GOOD);
    nothing_is_left(&*shadow);
}

/// No agent is asked before systemd has undone it: one that begins would do it itself.
fn nobody_confirms(machine: &Machine) {
    let shadow = machine.boot("alone");
    wait_on(&*shadow, "alone", Duration::from_secs(2));
    let both = format!("{GOOD}{BAD}");
    until(&*shadow, &format!("[ \"$(cat /run/seen)\" = '{}' ]", both.trim_end()));
    assert_eq!(said(&*shadow, "cat /etc/beacon.conf"), BAD);
    nothing_is_left(&*shadow);
    is_late(&*shadow, "alone");
}

/// The power is cut while there is time left to confirm.
fn restarted(machine: &Machine) {
    let shadow = machine.boot("before");
    wait_on(&*shadow, "restart", LONG);
    assert_eq!(said(&*shadow, "cat /etc/beacon.conf"), GOOD);
    let disk = sh(&*shadow, "tar -c --one-file-system etc var/lib/umbra-agent");
    shadow.destroy().expect("destroyed");
    let shadow = machine.boot_with("after", &disk);
    until(&*shadow, "systemctl is-active --quiet multi-user.target");
    assert_eq!(said(&*shadow, "cat /etc/beacon.conf"), BAD);
    // Until then systemd remembers the unit that this boot began with.
    sh(&*shadow, "systemctl daemon-reload");
    nothing_is_left(&*shadow);
    is_late(&*shadow, "restart");
}

/// The beacon drifts and is rolled back. The agent that did it is gone then.
#[track_caller]
fn wait_on(shadow: &dyn Shadow, id: &str, confirm: Duration) {
    let outcome = roll_back(shadow, id, confirm);
    assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
}

/// The next agent learns what became of it.
#[track_caller]
fn is_late(shadow: &dyn Shadow, id: &str) {
    let outcome = answer(shadow, Ask::Settle { id: id.to_owned() });
    let why = "nobody confirmed it in time".to_owned();
    assert_eq!(outcome, Outcome::Reverted { why });
}

/// Neither in systemd nor where it would look at the next boot, nor beside the file.
#[track_caller]
fn nothing_is_left(shadow: &dyn Shadow) {
    let left = "systemctl list-timers --all --no-legend 'umbra-*'
        systemctl list-units --all --no-legend 'umbra-*'
        find /etc /run/systemd -name '*umbra-*'";
    until(shadow, &format!("[ -z \"$({left})\" ]"));
}

#[track_caller]
fn said(shadow: &dyn Shadow, script: &str) -> String {
    String::from_utf8_lossy(&sh(shadow, script)).into_owned()
}
