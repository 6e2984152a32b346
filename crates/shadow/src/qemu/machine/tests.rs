use std::path::PathBuf;

use super::*;

/// Small, without devices of its own.
fn plain() -> Machine {
    Machine {
        name: "umbra-web-1".to_owned(),
        accel: Accel::Tcg,
        board: Board::Pc,
        cpus: 1,
        memory: Memory { bytes: 512 << 20, backing: Backing::Own },
        boot: Boot {
            kernel: PathBuf::from("/k/vmlinuz"),
            initrd: PathBuf::from("/k/initrd"),
            cmdline: "console=ttyS0 quiet".to_owned(),
        },
        console: Console::Stdout,
        monitor: Some(Endpoint(3)),
        ports: Vec::new(),
        share: None,
        disks: Vec::new(),
        network: Network::None,
        start: Start::Runs,
    }
}

fn port(name: &str, endpoint: Endpoint) -> Port {
    Port { name: name.to_owned(), endpoint }
}

fn disk(id: &str) -> Disk {
    Disk { id: id.to_owned(), image: PathBuf::from(format!("/d/{id}")) }
}

#[track_caller]
fn check(machine: &Machine, expected: &str) {
    // One option with its value a line.
    let mut lines = String::new();
    for argument in machine.arguments().expect("arguments") {
        let option = argument.starts_with('-') && !argument.starts_with("-:");
        lines.push_str(if option && !lines.is_empty() {
            "\n"
        } else if option {
            ""
        } else {
            " "
        });
        lines.push_str(&argument);
    }
    assert_eq!(lines, expected);
}

const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);

#[test]
fn a_plain_machine() {
    check(
        &plain(),
        r#"-nodefaults
-no-user-config
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-name umbra-web-1
-machine pc,memory-backend=memory,usb=off,vmport=off,dump-guest-core=off
-accel tcg
-cpu qemu64,+cx16,+lahf-lm,+popcnt,+ssse3,+sse4.1,+sse4.2,+rdrand
-smp 1
-m 512M
-object {"id":"memory","qom-type":"memory-backend-ram","size":536870912}
-kernel /k/vmlinuz
-initrd /k/initrd
-append console=ttyS0 quiet
-no-reboot
-chardev stdio,id=console,signal=off
-serial chardev:console
-chardev socket,id=monitor,fd=3
-mon chardev=monitor,mode=control
-device {"driver":"virtio-rng-pci","id":"entropy"}
-device {"driver":"vmgenid","guid":"auto","id":"generation"}"#,
    );
}

#[test]
fn a_machine_with_a_share_and_a_tap() {
    let machine = Machine {
        cpus: 2,
        memory: Memory { bytes: 1 << 30, backing: Backing::Shared },
        monitor: None,
        ports: vec![port("umbra.run", Endpoint(5)), port("umbra.log", Endpoint(6))],
        share: Some(Share { tag: "root".to_owned(), server: Endpoint(8) }),
        network: Network::Tap { descriptor: 7, mac: MAC },
        ..plain()
    };
    check(
        &machine,
        r#"-nodefaults
-no-user-config
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-name umbra-web-1
-machine pc,memory-backend=memory,usb=off,vmport=off,dump-guest-core=off
-accel tcg
-cpu qemu64,+cx16,+lahf-lm,+popcnt,+ssse3,+sse4.1,+sse4.2,+rdrand
-smp 2
-m 1024M
-object {"id":"memory","qom-type":"memory-backend-memfd","share":true,"size":1073741824}
-kernel /k/vmlinuz
-initrd /k/initrd
-append console=ttyS0 quiet
-no-reboot
-chardev stdio,id=console,signal=off
-serial chardev:console
-chardev socket,id=port0,fd=5
-chardev socket,id=port1,fd=6
-chardev socket,id=root-server,fd=8
-device {"driver":"virtio-rng-pci","id":"entropy"}
-device {"driver":"vmgenid","guid":"auto","id":"generation"}
-device {"driver":"virtio-serial-pci","id":"ports","max_ports":3}
-device {"bus":"ports.0","chardev":"port0","driver":"virtserialport","name":"umbra.run","nr":1}
-device {"bus":"ports.0","chardev":"port1","driver":"virtserialport","name":"umbra.log","nr":2}
-device {"chardev":"root-server","driver":"vhost-user-fs-pci","id":"root-share","queue-size":1024,"tag":"root"}
-netdev tap,id=network,fd=7
-device {"driver":"virtio-net-pci","id":"interface","mac":"52:54:00:ab:00:01","netdev":"network","romfile":""}"#,
    );
}

#[test]
fn a_clone_with_disks() {
    let machine = Machine {
        accel: Accel::Kvm,
        board: Board::Q35,
        memory: Memory { bytes: 512 << 20, backing: Backing::Clone(PathBuf::from("/t/memory")) },
        console: Console::Socket(Endpoint(4)),
        disks: vec![disk("root"), disk("more")],
        network: Network::Tap { descriptor: 9, mac: MAC },
        start: Start::Incoming,
        ..plain()
    };
    check(
        &machine,
        r#"-nodefaults
-no-user-config
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-name umbra-web-1
-machine q35,memory-backend=memory,usb=off,vmport=off,dump-guest-core=off
-accel kvm
-cpu host
-smp 1
-m 512M
-object {"id":"memory","mem-path":"/t/memory","qom-type":"memory-backend-file","share":false,"size":536870912}
-kernel /k/vmlinuz
-initrd /k/initrd
-append console=ttyS0 quiet
-incoming defer
-no-reboot
-chardev socket,id=console,fd=4
-serial chardev:console
-chardev socket,id=monitor,fd=3
-mon chardev=monitor,mode=control
-device {"driver":"virtio-rng-pci","id":"entropy"}
-device {"driver":"vmgenid","guid":"auto","id":"generation"}
-blockdev {"driver":"raw","file":{"driver":"file","filename":"/d/root"},"node-name":"root","read-only":true}
-device {"drive":"root","driver":"virtio-blk-pci","id":"root-disk","serial":"root"}
-blockdev {"driver":"raw","file":{"driver":"file","filename":"/d/more"},"node-name":"more","read-only":true}
-device {"drive":"more","driver":"virtio-blk-pci","id":"more-disk","serial":"more"}
-netdev tap,id=network,fd=9
-device {"driver":"virtio-net-pci","id":"interface","mac":"52:54:00:ab:00:01","netdev":"network","romfile":""}"#,
    );
}

#[test]
fn a_template_writes_its_memory() {
    let machine = Machine {
        memory: Memory { bytes: 256 << 20, backing: Backing::Template(PathBuf::from("/t/memory")) },
        ..plain()
    };
    let arguments = machine.arguments().expect("arguments");
    let memory = r#"{"id":"memory","mem-path":"/t/memory","qom-type":"memory-backend-file","share":true,"size":268435456}"#;
    assert!(arguments.iter().any(|argument| argument == memory), "{arguments:?}");
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Machine), word: &str) {
    let mut machine = plain();
    change(&mut machine);
    let refused = machine.arguments().expect_err("refused").to_string();
    assert!(refused.contains(word), "{refused}");
}

#[test]
fn what_qemu_would_read_differently_is_refused() {
    check_refused(|machine| machine.cpus = 0, "processor");
    check_refused(|machine| machine.memory.bytes = 0, "memory");
    check_refused(|machine| machine.memory.bytes = (1 << 20) + 1, "memory");
    check_refused(|machine| machine.name = "a,process=b".to_owned(), "name");
    check_refused(|machine| machine.name = "-x".to_owned(), "name");
    check_refused(|machine| machine.boot.cmdline = "a\nb".to_owned(), "command line");
    check_refused(|machine| machine.boot.cmdline = "a".repeat(2048), "command line");
    check_refused(|machine| machine.boot.kernel = PathBuf::from("vmlinuz"), "path");
    check_refused(|machine| machine.boot.initrd = PathBuf::from("/a\n"), "path");
    check_refused(|machine| machine.ports = vec![port("a b", Endpoint(3))], "port");
    check_refused(|machine| machine.disks = vec![disk(&"a".repeat(21))], "disk");
    check_refused(
        |machine| {
            machine.share = Some(Share { tag: "root".to_owned(), server: Endpoint(3) });
        },
        "shared memory",
    );
}
