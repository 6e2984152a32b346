//! The sandbox provider on the real kernel. The binary is its own launcher, so it has a `main`
//! of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, ShadowSpec};
use umbra_state::Command;
use umbra_store::overlay::{Base, Layers};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    busybox_root(&root);
    let provider = SandboxProvider::open(SandboxConfig {
        dir: dir.path().join("shadows"),
        launcher: std::env::current_exe().expect("own path"),
        user_namespaces: true,
    })
    .expect("provider");
    let layers = Layers::of(Base::Checkout(root));
    for round in 0..20 {
        let started = Instant::now();
        let shadow = provider
            .spawn(
                &layers,
                &ShadowSpec {
                    name: format!("t-{round}"),
                    limits: Limits::default(),
                    network: Network::Fenced,
                },
            )
            .expect("shadow");
        let spawned = started.elapsed();
        let out = shadow
            .run(&Command::shell("id; ls /; cat /proc/self/status | grep -i cap; ip a; hostname"))
            .expect("ran");
        if round == 0 {
            println!("{}", String::from_utf8_lossy(&out.stdout));
            println!("{}", String::from_utf8_lossy(&out.stderr));
        }
        let ran = started.elapsed();
        shadow.apply(&layers).expect("applied");
        let applied = started.elapsed();
        shadow.run(&Command::new(["/bin/true"])).expect("ran");
        let second = started.elapsed();
        shadow.destroy().expect("destroyed");
        println!(
            "spawn {spawned:?} run {:?} apply {:?} run {:?} destroy {:?}",
            ran - spawned,
            applied - ran,
            second - applied,
            started.elapsed() - second
        );
    }
}

fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).expect("made");
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
    for name in ["sh", "id", "ls", "cat", "grep", "ip", "hostname", "true", "sleep", "touch"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("link");
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
}
