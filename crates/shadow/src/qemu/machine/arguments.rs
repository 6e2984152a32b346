//! The arguments QEMU makes a machine from.

use serde_json::{Value, json};

use super::device::{checked_path, checked_word};
use super::{
    Accel, Backing, Board, CMDLINE_BYTES_MAX, Console, Endpoint, Mac, Machine, MachineError,
    Network, Port, Start,
};

/// What QEMU denies itself. It cannot start programs, so that migration to `exec:` is none of
/// its ways.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// QEMU's default processor with what programs are built for (x86-64-v2) and with random
/// numbers of its own, at no cost; all that QEMU can translate makes a boot cost a tenth more.
const TRANSLATED: &str = "qemu64,+cx16,+lahf-lm,+popcnt,+ssse3,+sse4.1,+sse4.2,+rdrand";

/// No machine has more.
const PORTS_MAX: usize = 30;

impl Machine {
    /// What follows the program's name.
    pub(crate) fn arguments(&self) -> Result<Vec<String>, MachineError> {
        self.check()?;
        let mut arguments = Arguments::default();
        arguments.flag("-nodefaults").flag("-no-user-config");
        arguments.option("-display", "none").option("-sandbox", SANDBOX);
        arguments.option("-name", checked_word("the name", &self.name, 60)?);
        self.board(&mut arguments)?;
        self.boot(&mut arguments)?;
        self.life(&mut arguments);
        self.streams(&mut arguments);
        self.devices(&mut arguments)?;
        Ok(arguments.0)
    }

    fn check(&self) -> Result<(), MachineError> {
        let refuse = |why: &str| Err(MachineError(why.to_owned()));
        if self.cpus == 0 {
            return refuse("it has no processor");
        }
        if self.memory.bytes == 0 || !self.memory.bytes.is_multiple_of(1 << 20) {
            return refuse("its memory is no multiple of a MiB");
        }
        if self.share.is_some() && self.memory.backing != Backing::Shared {
            return refuse("a share needs shared memory, which templates and clones have not");
        }
        if self.ports.len() > PORTS_MAX {
            return refuse("it has too many ports");
        }
        let cmdline = &self.boot.cmdline;
        if cmdline.len() > CMDLINE_BYTES_MAX || cmdline.contains(char::is_control) {
            return refuse("its kernel's command line is too long or has control characters");
        }
        Ok(())
    }

    fn board(&self, arguments: &mut Arguments) -> Result<(), MachineError> {
        let board = match self.board {
            Board::Pc => "pc",
            Board::Q35 => "q35",
        };
        let (accel, cpu) = match self.accel {
            // What this machine has, and nothing that it has not.
            Accel::Kvm => ("kvm", "host"),
            Accel::Tcg => ("tcg", TRANSLATED),
        };
        let rest = "memory-backend=memory,usb=off,vmport=off,dump-guest-core=off";
        arguments.option("-machine", format!("{board},{rest}"));
        arguments.option("-accel", accel).option("-cpu", cpu);
        arguments.option("-smp", self.cpus.to_string());
        arguments.option("-m", format!("{}M", self.memory.bytes >> 20));
        let size = self.memory.bytes;
        let memory = match &self.memory.backing {
            Backing::Own => json!({ "qom-type": "memory-backend-ram" }),
            Backing::Shared => json!({ "qom-type": "memory-backend-memfd", "share": true }),
            Backing::Template(path) => backing_file(checked_path(path)?, true),
            Backing::Clone(path) => backing_file(checked_path(path)?, false),
        };
        arguments.json("-object", with(memory, json!({ "id": "memory", "size": size })));
        Ok(())
    }

    fn boot(&self, arguments: &mut Arguments) -> Result<(), MachineError> {
        arguments.option("-kernel", checked_path(&self.boot.kernel)?);
        arguments.option("-initrd", checked_path(&self.boot.initrd)?);
        arguments.option("-append", self.boot.cmdline.as_str());
        Ok(())
    }

    fn life(&self, arguments: &mut Arguments) {
        if self.start == Start::Incoming {
            arguments.option("-incoming", "defer");
        }
        arguments.flag("-no-reboot");
    }

    fn streams(&self, arguments: &mut Arguments) {
        let console = match self.console {
            Console::Stdout => "stdio,id=console,signal=off".to_owned(),
            Console::Socket(endpoint) => socket("console", endpoint),
        };
        arguments.option("-chardev", console).option("-serial", "chardev:console");
        if let Some(monitor) = self.monitor {
            arguments.option("-chardev", socket("monitor", monitor));
            arguments.option("-mon", "chardev=monitor,mode=control");
        }
        for (number, port) in self.ports.iter().enumerate() {
            arguments.option("-chardev", socket(&format!("port{number}"), port.endpoint));
        }
        if let Some(share) = &self.share {
            arguments.option("-chardev", socket(&share.chardev(), share.server));
        }
    }

    /// In an order that gives each the same address wherever it was a device of this machine.
    fn devices(&self, arguments: &mut Arguments) -> Result<(), MachineError> {
        arguments.json("-device", json!({ "driver": "virtio-rng-pci", "id": "entropy" }));
        // Tells a clone's kernel that it is one, where that has a driver.
        arguments
            .json("-device", json!({ "driver": "vmgenid", "id": "generation", "guid": "auto" }));
        self.port_devices(arguments)?;
        if let Some(share) = &self.share {
            arguments.json("-device", share.device()?);
        }
        for disk in &self.disks {
            arguments.json("-blockdev", disk.blockdev()?);
            arguments.json("-device", disk.device()?);
        }
        self.network.devices(arguments);
        Ok(())
    }

    fn port_devices(&self, arguments: &mut Arguments) -> Result<(), MachineError> {
        if self.ports.is_empty() {
            return Ok(());
        }
        // Port 0 is a console's.
        let ports_max = self.ports.len() + 1;
        arguments.json(
            "-device",
            json!({ "driver": "virtio-serial-pci", "id": "ports", "max_ports": ports_max }),
        );
        for (number, port) in self.ports.iter().enumerate() {
            arguments.json("-device", port.device(number)?);
        }
        Ok(())
    }
}

impl Port {
    fn device(&self, number: usize) -> Result<Value, MachineError> {
        let dotted = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if self.name.is_empty() || self.name.len() > 60 || !self.name.bytes().all(dotted) {
            return Err(MachineError("a port's name is not 1 to 60 letters, digits, -._".into()));
        }
        Ok(json!({
            "driver": "virtserialport",
            "bus": "ports.0",
            "nr": number + 1,
            "chardev": format!("port{number}"),
            "name": self.name,
        }))
    }
}

impl Network {
    fn devices(&self, arguments: &mut Arguments) {
        let Self::Tap { descriptor, mac } = self else { return };
        arguments.option("-netdev", format!("tap,id=network,fd={descriptor}"));
        // Nothing boots from it, and its boot program may not be installed.
        arguments.json(
            "-device",
            json!({
                "driver": "virtio-net-pci",
                "id": "interface",
                "netdev": "network",
                "mac": mac.to_string(),
                "romfile": "",
            }),
        );
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn backing_file(path: &str, share: bool) -> Value {
    json!({ "qom-type": "memory-backend-file", "mem-path": path, "share": share })
}

fn with(mut value: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
        fields.extend(more);
    }
    value
}

fn socket(id: &str, Endpoint(number): Endpoint) -> String {
    format!("socket,id={id},fd={number}")
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.to_owned());
        self
    }

    fn option(&mut self, option: &str, value: impl Into<String>) -> &mut Self {
        self.0.extend([option.to_owned(), value.into()]);
        self
    }

    fn json(&mut self, option: &str, value: Value) -> &mut Self {
        self.option(option, value.to_string())
    }
}
