//! What runs inside a shadow and tries to get out. Each attack prints what it managed; only one
//! that managed nothing prints `repelled` and ends with 0.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// What an attack managed to do; empty if nothing.
type Broken = Vec<String>;

pub(crate) fn main(words: &[String]) -> i32 {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let broken = match words[..] {
        ["files", marker] => files(marker),
        ["devices"] => devices(),
        ["kernel-files"] => kernel_files(),
        ["system-calls"] => system_calls(),
        ["init"] => init(),
        ["descriptors"] => descriptors(),
        ["cgroups"] => cgroups(),
        ["ipc-leave"] => ipc(true),
        ["ipc-look"] => ipc(false),
        ["connect", ref targets @ ..] => connect(targets),
        ["reach", target] => return i32::from(!reaches(target)),
        ["serve", port, word] => return serve(port, word),
        ["forge", own, other, other_mac] => forge(own, other, other_mac),
        _ => vec![format!("no such attack: {words:?}")],
    };
    for line in &broken {
        println!("BROKEN: {line}");
    }
    if broken.is_empty() {
        println!("repelled");
    }
    i32::from(!broken.is_empty())
}

/// Every way to a host file whose path is known.
fn files(marker: &str) -> Broken {
    let mut broken = Vec::new();
    let mut roots = vec![String::new()];
    for pid in ["1", "self", "thread-self"] {
        roots.push(format!("/proc/{pid}/root"));
        roots.push(format!("/proc/{pid}/root/.."));
        roots.push(format!("/proc/{pid}/cwd"));
        roots.push(format!("/proc/{pid}/cwd/../../../.."));
        for fd in 0..64 {
            roots.push(format!("/proc/{pid}/fd/{fd}"));
            roots.push(format!("/proc/{pid}/fd/{fd}/../../../.."));
        }
    }
    for root in &roots {
        let path = format!("{root}{marker}");
        if File::open(&path).is_ok() {
            broken.push(format!("read {path}"));
        }
        if OpenOptions::new().append(true).open(&path).is_ok() {
            broken.push(format!("opened {path} for writing"));
        }
    }
    // The classic way out of a chroot: be outside of a root of one's own making.
    let inner = CString::new("/inner").expect("text");
    // SAFETY: the path is a C string; this process has one thread and ends soon.
    unsafe {
        libc::mkdir(inner.as_ptr(), 0o755);
        libc::chroot(inner.as_ptr());
    }
    for up in 1..20 {
        let path = format!("{}{}", "../".repeat(up), marker.trim_start_matches('/'));
        if File::open(&path).is_ok() {
            broken.push(format!("left a chroot: {path}"));
        }
    }
    broken
}

fn devices() -> Broken {
    let mut broken = Vec::new();
    for (name, kind, major, minor) in [
        ("mem", libc::S_IFCHR, 1, 1),
        ("port", libc::S_IFCHR, 1, 4),
        ("kmsg", libc::S_IFCHR, 1, 11),
        ("loop-control", libc::S_IFCHR, 10, 237),
        ("fuse", libc::S_IFCHR, 10, 229),
        ("tun", libc::S_IFCHR, 10, 200),
        ("loop0", libc::S_IFBLK, 7, 0),
        ("sda", libc::S_IFBLK, 8, 0),
        ("vda", libc::S_IFBLK, 254, 0),
        ("null", libc::S_IFCHR, 1, 3),
    ] {
        for dir in ["/", "/dev/", "/dev/shm/", "/tmp/", "/bind/"] {
            let path = format!("{dir}umbra-{name}");
            let text = CString::new(path.clone()).expect("text");
            // SAFETY: the path is a C string.
            let made =
                unsafe { libc::mknod(text.as_ptr(), kind | 0o666, libc::makedev(major, minor)) };
            if made == 0 && File::open(&path).is_ok() {
                broken.push(format!("opened the device {path}"));
            }
        }
    }
    for entry in std::fs::read_dir("/dev").expect("/dev").flatten() {
        let known = ["null", "zero", "full", "random", "urandom", "tty"];
        let kind = entry.file_type().expect("a type");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_device = kind.is_char_device() || kind.is_block_device();
        if is_device && !known.contains(&&*name) && File::open(entry.path()).is_ok() {
            broken.push(format!("/dev has {name}"));
        }
    }
    broken
}

fn kernel_files() -> Broken {
    let mut broken = Vec::new();
    for hidden in ["/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/proc/keys"] {
        if let Ok(metadata) = std::fs::metadata(hidden)
            && metadata.rdev() != libc::makedev(1, 3)
            && OpenOptions::new().read(true).open(hidden).is_ok()
        {
            broken.push(format!("{hidden} is the kernel's"));
        }
    }
    for file in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/class/net/lo/mtu",
        "/sys/fs/cgroup/cgroup.procs",
        "/proc/1/mem",
    ] {
        if OpenOptions::new().write(true).open(file).is_ok() {
            broken.push(format!("opened {file} for writing"));
        }
    }
    walk_writable(Path::new("/sys"), 4, &mut broken);
    walk_writable(Path::new("/proc/sys"), 6, &mut broken);
    for file in ["/proc/1/environ", "/proc/1/maps", "/proc/1/mem"] {
        if File::open(file).is_ok_and(|mut file| file.read(&mut [0; 16]).is_ok_and(|n| n > 0)) {
            broken.push(format!("read {file}"));
        }
    }
    broken
}

fn walk_writable(dir: &Path, depth: u32, broken: &mut Broken) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            walk_writable(&entry.path(), depth - 1, broken);
        } else if kind.is_file()
            && OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(entry.path())
                .is_ok()
        {
            broken.push(format!("opened {} for writing", entry.path().display()));
        }
    }
}

/// Calls that must be refused for what they are, before their arguments are looked at.
fn system_calls() -> Broken {
    let mut broken = Vec::new();
    let zero = [0i64; 5];
    for (name, number) in [
        ("acct", libc::SYS_acct),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("clock_settime", libc::SYS_clock_settime),
        ("delete_module", libc::SYS_delete_module),
        ("finit_module", libc::SYS_finit_module),
        ("fsopen", libc::SYS_fsopen),
        ("init_module", libc::SYS_init_module),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("kexec_load", libc::SYS_kexec_load),
        ("keyctl", libc::SYS_keyctl),
        ("mount", libc::SYS_mount),
        ("move_mount", libc::SYS_move_mount),
        ("name_to_handle_at", libc::SYS_name_to_handle_at),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("open_tree", libc::SYS_open_tree),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("pivot_root", libc::SYS_pivot_root),
        ("quotactl", libc::SYS_quotactl),
        ("reboot", libc::SYS_reboot),
        ("setns", libc::SYS_setns),
        ("swapon", libc::SYS_swapon),
        ("syslog", libc::SYS_syslog),
        ("umount2", libc::SYS_umount2),
        ("userfaultfd", libc::SYS_userfaultfd),
    ] {
        expect(&mut broken, name, number, zero, &[libc::EPERM]);
        if cfg!(target_arch = "x86_64") {
            let refused = [libc::EPERM, libc::ENOSYS];
            expect(&mut broken, &format!("x32 {name}"), number | 0x4000_0000, zero, &refused);
        }
    }
    let user = i64::from(libc::CLONE_NEWUSER);
    let mount = i64::from(libc::CLONE_NEWNS);
    let eperm = &[libc::EPERM];
    expect(&mut broken, "unshare user", libc::SYS_unshare, [user, 0, 0, 0, 0], eperm);
    expect(&mut broken, "unshare mount", libc::SYS_unshare, [mount, 0, 0, 0, 0], eperm);
    expect(&mut broken, "clone user", libc::SYS_clone, [user, 0, 0, 0, 0], eperm);
    expect(&mut broken, "clone3", libc::SYS_clone3, zero, &[libc::ENOSYS]);
    let typing = [0, libc::TIOCSTI as i64, 0, 0, 0];
    expect(&mut broken, "TIOCSTI", libc::SYS_ioctl, typing, eperm);
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_RDS, libc::AF_TIPC] {
        let name = format!("socket of family {family}");
        let arguments = [i64::from(family), libc::SOCK_STREAM.into(), 0, 0, 0];
        expect(&mut broken, &name, libc::SYS_socket, arguments, &[libc::EAFNOSUPPORT]);
    }
    let name = c"owned";
    let arguments = [name.as_ptr() as i64, 5, 0, 0, 0];
    expect(&mut broken, "sethostname", libc::SYS_sethostname, arguments, eperm);
    broken
}

fn expect(broken: &mut Broken, name: &str, number: i64, a: [i64; 5], errors: &[i32]) {
    // SAFETY: no argument points to anything that the kernel could write to; the calls are
    // refused or, with these arguments, do nothing.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4]) };
    let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    if result == 0 && name == "clone user" {
        std::process::exit(9);
    }
    if result != -1 || !errors.contains(&error) {
        broken.push(format!("{name} gave {result}, error {error}"));
    }
}

/// PID 1 is ours: it must take no harm from those inside.
fn init() -> Broken {
    let mut broken = Vec::new();
    // SAFETY: plain calls without pointers, or with null where nothing is read.
    unsafe {
        if libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0) == 0 {
            broken.push("traced init".to_owned());
        }
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        if libc::process_vm_readv(1, &local, 1, &local, 1, 0) >= 0 {
            broken.push("read init's memory".to_owned());
        }
        // The kernel takes these and delivers none.
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGCHLD] {
            libc::kill(1, signal);
        }
        if libc::kill(1, 0) != 0 {
            broken.push("killed init".to_owned());
        }
    }
    let status = std::fs::read_to_string("/proc/1/status").unwrap_or_default();
    if !status.contains("State:\tS") && !status.contains("State:\tR") {
        broken.push(format!("init is not well: {status}"));
    }
    broken
}

fn descriptors() -> Broken {
    let mut broken = Vec::new();
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    let listed: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let open: Vec<_> = listed
        .iter()
        .filter(|path| ["0", "1", "2"].iter().all(|standard| !path.ends_with(standard)))
        // The directory that was read is closed by now.
        .filter_map(|path| Some((path, std::fs::read_link(path).ok()?)))
        .collect();
    if !open.is_empty() {
        broken.push(format!("inherited {open:?}"));
    }
    for number in 0..3 {
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("a link");
        if !target.to_string_lossy().starts_with("pipe:") {
            broken.push(format!("descriptor {number} is {}", target.display()));
        }
    }
    let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    names.sort();
    if names != ["HOME", "LANG", "PATH"] {
        broken.push(format!("inherited the variables {names:?}"));
    }
    broken
}

fn cgroups() -> Broken {
    let mut broken = Vec::new();
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("own groups");
    for line in own.lines().filter(|line| line.starts_with("0::")) {
        if line != "0::/" {
            broken.push(format!("sees its place in the host's groups: {line}"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("own mounts");
    for line in mounts.lines().filter(|line| line.contains("cgroup")) {
        broken.push(format!("has a group hierarchy: {line}"));
    }
    for release in ["/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent"] {
        if Path::new(release).exists() {
            broken.push(format!("has {release}"));
        }
    }
    broken
}

fn ipc(leave: bool) -> Broken {
    let key = 0x0075_6d62;
    let flags = if leave { libc::IPC_CREAT | 0o600 } else { 0 };
    // SAFETY: plain calls without pointers.
    let found = unsafe { libc::shmget(key, 4096, flags) >= 0 };
    if found && !leave { vec!["found another view's shared memory".to_owned()] } else { Vec::new() }
}

fn connect(targets: &[&str]) -> Broken {
    targets.iter().filter(|to| reaches(to)).map(|to| format!("reached {to}")).collect()
}

/// An answer of any kind counts, a refusal as well.
fn reaches(target: &str) -> bool {
    let address: SocketAddr = target.parse().expect("an address");
    match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::ECONNREFUSED),
    }
}

/// Says a word to everybody who connects.
fn serve(port: &str, word: &str) -> i32 {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("bound");
    println!("ready");
    for connection in listener.incoming() {
        // Whoever hangs up early is not served.
        let _ = connection.and_then(|mut connection| connection.write_all(word.as_bytes()));
    }
    0
}

/// Sends frames in another shadow's name: ARP answers with its own and with the other's
/// Ethernet address, to the bridge and to everybody.
fn forge(own: &str, other: &str, other_mac: &str) -> Broken {
    // SAFETY: plain call.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(0x0608u16)) };
    if socket < 0 {
        return Vec::new();
    }
    let own_mac = std::fs::read_to_string("/sys/class/net/eth0/address").expect("own address");
    let [own_mac, other_mac] = [own_mac.trim(), other_mac].map(mac);
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().expect("address").octets();
    for sender in [own_mac, other_mac] {
        for target in [[0xff; 6], other_mac] {
            let mut frame = Vec::new();
            frame.extend_from_slice(&target);
            frame.extend_from_slice(&sender);
            // ARP over Ethernet for IPv4: an answer nobody asked for.
            frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
            frame.extend_from_slice(&own_mac);
            frame.extend_from_slice(&address(other));
            frame.extend_from_slice(&target);
            frame.extend_from_slice(&address(own));
            frame.resize(60, 0);
            for _ in 0..20 {
                // SAFETY: the structure is plain numbers, the frame valid for its length.
                unsafe {
                    let mut to: libc::sockaddr_ll = std::mem::zeroed();
                    to.sll_family = libc::AF_PACKET as u16;
                    to.sll_ifindex = 2;
                    to.sll_halen = 6;
                    to.sll_addr[..6].copy_from_slice(&target);
                    libc::sendto(
                        socket,
                        frame.as_ptr().cast(),
                        frame.len(),
                        0,
                        (&raw const to).cast(),
                        size_of_val(&to) as u32,
                    );
                }
            }
        }
    }
    Vec::new()
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}
