//! Taps on real interfaces: a client and a server in networks of their own, with curl and wrk for
//! clients and tcpdump beside the tap.
//!
//! What the machine cannot do is reported as skipped, with the reason.

mod place;
mod server;
mod tapped;
mod traces;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, interface] = words.as_slice()
        && word == traces::FORLORN
    {
        return traces::forlorn(interface);
    }
    let trials = vec![
        trial("every_request_is_captured_direct", tapped::direct),
        trial("every_request_is_captured_from_copies", tapped::copies),
        trial("every_request_is_captured_of_lo", tapped::loopback),
        trial("every_request_is_captured_of_ipv6", tapped::ipv6),
        trial("every_request_is_captured_of_a_vlan", tapped::vlan),
        trial("every_request_is_captured_on_a_bad_line", tapped::bad_line),
        trial("as_many_packets_as_tcpdump_direct", tapped::complete_direct),
        trial("as_many_packets_as_tcpdump_from_copies", tapped::complete_copies),
        trial("what_is_dropped_is_counted", tapped::overrun),
        trial("nothing_stays", traces::nothing_stays),
        trial("rules_of_others_stay_and_work", traces::others),
        trial("what_a_killed_tap_left_goes", traces::killed),
        trial("an_interface_that_goes_is_said", traces::gone),
        trial("names_and_interfaces_that_are_none_are_refused", traces::refused),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test in a network of its own, which goes with the thread.
fn trial(name: &'static str, test: fn()) -> Trial {
    Trial::test(name, move || {
        match place::missing(&["ip", "tc", "tcpdump", "curl", "wrk"]) {
            Some(reason) => println!("{name}: skipped: {reason}"),
            None => place::apart(test),
        }
        Ok(())
    })
}
