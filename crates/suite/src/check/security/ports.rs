//! Ports somebody listens on that nobody asked for.

use std::time::Instant;

use umbra_state::Command;

use super::Scan;
use super::finding::{Raw, Severity};
use crate::check::goss::{Listener, SOCKETS_SCRIPT, parse_sockets};
use crate::check::remaining;
use crate::target::{ProbeError, Target};

pub(super) fn scan(allowed: &[u16], target: &dyn Target, deadline: Instant, scan: &mut Scan) {
    let command = Command::shell(SOCKETS_SCRIPT).with_timeout(remaining(deadline));
    match target.run(&command) {
        Ok(output) if output.exit.success() && output.dropped_bytes == 0 => {
            let listeners = parse_sockets(&output.stdout);
            scan.raws.extend(listeners.iter().filter_map(|one| judge(*one, allowed)));
            scan.note("listening ports", format!("{} looked at", listeners.len()));
        }
        Ok(output) => scan.blind(&ProbeError::Tool {
            tool: "cat /proc/net/tcp".to_owned(),
            detail: format!("{}, {} bytes lost", output.exit, output.dropped_bytes),
        }),
        Err(error) => scan.blind(&error),
    }
}

fn judge(listener: Listener, allowed: &[u16]) -> Option<Raw> {
    if allowed.contains(&listener.port) {
        return None;
    }
    let (protocol, ip, port) = (listener.transport.protocol(), listener.ip, listener.port);
    Some(Raw {
        rule: "open-port".into(),
        // Only a process on the machine itself reaches a loopback address.
        severity: if ip.is_loopback() { Severity::Low } else { Severity::High },
        path: None,
        line: None,
        message: format!("{protocol} port {port} listens on {ip}"),
        advice: "stop the service, bind it to loopback, or list the port as allowed".into(),
        key: format!("{protocol} {ip} {port}").into_bytes(),
        was_there: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::DirTarget;

    fn scanned(exit: i32, stdout: &str) -> Scan {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = DirTarget::new(dir.path()).expect("target");
        let target = target.with_answer("/proc/net/", exit, stdout, "");
        let mut found = Scan { raws: Vec::new(), errors: Vec::new(), seen: Vec::new() };
        scan(&[80], &target, Instant::now(), &mut found);
        found
    }

    #[test]
    fn unknown_ports_are_findings() {
        let sockets = "tcp\n 0: 00000000:0050 00000000:0000 0A\n 1: 00000000:1F90 00000000:0000 0A\n 2: 0100007F:0CEA 00000000:0000 0A\n";
        let scan = scanned(0, sockets);
        let found: Vec<_> =
            scan.raws.iter().map(|raw| (raw.message.as_str(), raw.severity)).collect();
        assert_eq!(
            found,
            [
                ("tcp port 8080 listens on 0.0.0.0", Severity::High),
                ("tcp port 3306 listens on 127.0.0.1", Severity::Low)
            ]
        );
        assert!(scan.errors.is_empty());
    }

    #[test]
    fn not_being_able_to_look_is_an_error() {
        let scan = scanned(1, "");
        assert_eq!((scan.errors.len(), scan.seen.len()), (1, 0));
    }
}
