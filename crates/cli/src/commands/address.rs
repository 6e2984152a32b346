//! Where a shadow is, for those who only know its name.

use std::net::{IpAddr, SocketAddr};

use umbra_api::client::Client;
use umbra_api::shadow::ShadowInfo;

use crate::error::{CliError, Finish};

/// `to` as `HOST:PORT`: as it is if it has a colon, otherwise the address that the daemon's
/// shadow of this name has now.
pub(super) fn of_shadow(daemon: &Client, to: String, port: u16) -> Result<String, CliError> {
    if to.contains(':') {
        return Ok(to);
    }
    let shadows = daemon.shadows().map_err(|error| {
        let message = format!("find shadow {to:?}");
        let hint = "HOST:PORT needs no daemon; shadows are those of `umbra serve`";
        CliError::because(Finish::Environment, message, &error).with_hint(hint)
    })?;
    find(&shadows, &to, port)
}

fn find(shadows: &[ShadowInfo], name: &str, port: u16) -> Result<String, CliError> {
    let refused =
        |message, hint: String| Err(CliError::new(Finish::Usage, message).with_hint(hint));
    let Some(shadow) = shadows.iter().find(|shadow| shadow.name == name) else {
        let names: Vec<&str> = shadows.iter().map(|shadow| shadow.name.as_str()).collect();
        let there_are = match names.is_empty() {
            true => "there are none; `umbra shadow create` makes one".to_owned(),
            false => format!("there are {}", names.join(", ")),
        };
        return refused(format!("find shadow {name:?}"), there_are);
    };
    match shadow.address.as_deref().map(str::parse::<IpAddr>) {
        Some(Ok(address)) => Ok(SocketAddr::new(address, port).to_string()),
        _ => refused(
            format!("reach shadow {name:?}: it has no address on this machine"),
            "`umbra doctor` says what networks of shadows need".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use umbra_api::shadow::ShadowPhase;

    use super::*;

    fn shadow(name: &str, address: Option<&str>) -> ShadowInfo {
        ShadowInfo {
            name: name.to_owned(),
            provider: "sandbox".to_owned(),
            state: None,
            phase: ShadowPhase::Idle,
            owner: "eve".to_owned(),
            address: address.map(str::to_owned),
            created_at_ms: 0,
            expires_at_ms: None,
        }
    }

    #[test]
    fn a_name_becomes_an_address_or_a_sentence() {
        #[track_caller]
        fn check(shadows: &[ShadowInfo], name: &str, expected: Result<&str, &str>) {
            let found = find(shadows, name, 80).map_err(|error| {
                let hint = error.hint.unwrap_or_default();
                format!("{}; {hint}", error.message)
            });
            match expected {
                Ok(address) => assert_eq!(found.as_deref(), Ok(address)),
                Err(part) => {
                    assert!(found.as_ref().is_err_and(|all| all.contains(part)), "{found:?}")
                }
            }
        }
        let some = [
            shadow("old", Some("10.213.0.2")),
            shadow("new", Some("fd00::3")),
            shadow("alone", None),
        ];
        check(&some, "old", Ok("10.213.0.2:80"));
        check(&some, "new", Ok("[fd00::3]:80"));
        check(&some, "alone", Err("no address"));
        check(&some, "nobody", Err("there are old, new, alone"));
        check(&[], "nobody", Err("umbra shadow create"));
    }
}
