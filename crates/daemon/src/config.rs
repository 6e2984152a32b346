//! Where a daemon keeps its things and where it listens.

use std::path::{Path, PathBuf};

use umbra_api::error::{ErrorCode, WireError};

/// The longest path a unix socket can have.
const SOCKET_PATH_MAX: usize = 107;

/// A daemon's places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Database, store and shadows' files. One daemon at a time.
    pub state_dir: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
}

/// What defaults depend on; passed in so that choosing them is pure.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether the user is root.
    pub root: bool,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        Self {
            root: rustix::process::geteuid().is_root(),
            home: var("HOME"),
            xdg_state: var("XDG_STATE_HOME"),
            xdg_runtime: var("XDG_RUNTIME_DIR"),
        }
    }
}

impl Config {
    /// The places that were asked for; where nothing was, `/var/lib/umbra` and
    /// `/run/umbra/umbra.sock` for root, the XDG directories for everybody else. A state
    /// directory that was asked for has its socket inside.
    pub fn choose(
        state_dir: Option<PathBuf>,
        socket: Option<PathBuf>,
        around: &Surroundings,
    ) -> Self {
        let inside = state_dir.as_ref().map(|dir| dir.join("umbra.sock"));
        let state_dir = state_dir.unwrap_or_else(|| default_state_dir(around));
        let socket = socket.or(inside).unwrap_or_else(|| default_socket(around, &state_dir));
        Self { state_dir, socket }
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("umbra.db")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.state_dir.join("store")
    }

    /// The provider's files.
    pub fn shadows(&self) -> PathBuf {
        self.state_dir.join("shadows")
    }

    /// The files of the provider of virtual machines.
    pub fn machines(&self) -> PathBuf {
        self.state_dir.join("machines")
    }

    /// Kernels that virtual machines boot, and what boots with them.
    pub fn kernels(&self) -> PathBuf {
        self.state_dir.join("kernels")
    }

    /// Layers of rehearsals.
    pub fn rehearsals(&self) -> PathBuf {
        self.state_dir.join("rehearsals")
    }

    /// What agents of this machine remember.
    pub fn agents(&self) -> PathBuf {
        self.state_dir.join("agents")
    }

    /// Makes the paths absolute and refuses a socket that no kernel would take.
    pub fn checked(self) -> Result<Self, WireError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| {
                let message = format!("find {}", path.display());
                WireError::new(ErrorCode::Environment, message).caused_by(error)
            })
        };
        let checked =
            Self { state_dir: absolute(&self.state_dir)?, socket: absolute(&self.socket)? };
        if checked.socket.as_os_str().len() > SOCKET_PATH_MAX {
            let message = format!(
                "listen at {}: a socket's path has at most {SOCKET_PATH_MAX} bytes",
                checked.socket.display()
            );
            return Err(WireError::new(ErrorCode::BadRequest, message)
                .with_hint("choose a shorter one with --socket or UMBRA_SOCKET"));
        }
        Ok(checked)
    }
}

fn default_state_dir(around: &Surroundings) -> PathBuf {
    if around.root {
        return "/var/lib/umbra".into();
    }
    let home = || around.home.as_ref().map(|home| home.join(".local/state"));
    let base = around.xdg_state.clone().or_else(home);
    base.map_or_else(|| "/var/lib/umbra".into(), |base| base.join("umbra"))
}

fn default_socket(around: &Surroundings, state_dir: &Path) -> PathBuf {
    if around.root {
        return "/run/umbra/umbra.sock".into();
    }
    let runtime = around.xdg_runtime.as_ref().map(|dir| dir.join("umbra/umbra.sock"));
    runtime.unwrap_or_else(|| state_dir.join("umbra.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: Option<&str>, socket: Option<&str>, around: &Surroundings, wanted: [&str; 2]) {
        let config = Config::choose(state.map(Into::into), socket.map(Into::into), around);
        let [state_dir, socket] = wanted.map(PathBuf::from);
        assert_eq!(config, Config { state_dir, socket });
    }

    #[test]
    fn places_follow_what_was_asked_then_who_asks() {
        let root = Surroundings { root: true, ..Surroundings::default() };
        check(None, None, &root, ["/var/lib/umbra", "/run/umbra/umbra.sock"]);
        check(Some("/x"), None, &root, ["/x", "/x/umbra.sock"]);
        check(Some("/x"), Some("/y"), &root, ["/x", "/y"]);
        check(None, Some("/y"), &root, ["/var/lib/umbra", "/y"]);
        let user = Surroundings { home: Some("/home/u".into()), ..Surroundings::default() };
        let state = "/home/u/.local/state/umbra";
        check(None, None, &user, [state, "/home/u/.local/state/umbra/umbra.sock"]);
        let user = Surroundings {
            xdg_state: Some("/s".into()),
            xdg_runtime: Some("/run/user/7".into()),
            ..user
        };
        check(None, None, &user, ["/s/umbra", "/run/user/7/umbra/umbra.sock"]);
    }

    #[test]
    fn a_socket_no_kernel_takes_is_refused() {
        let socket = PathBuf::from(format!("/{}", "x".repeat(107)));
        let config = Config { state_dir: "/x".into(), socket };
        assert_eq!(config.checked().expect_err("refused").code, ErrorCode::BadRequest);
    }
}
