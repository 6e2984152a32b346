//! Whether a change was to be expected.
//!
//! | who made it | what it made | is |
//! |---|---|---|
//! | a package manager | what an installed package ships | expected |
//! | whom the parameter's `owned_by` names | anything | expected |
//! | anybody | anything else | unexplained |

use umbra_drift::config::Provenance;
use umbra_drift::watch::who::{Class, Writer};

/// The provenance of a change by `writers`. `owners` are the parameter's; `shipped` says
/// whether what is there now is what a package ships.
pub(crate) fn of(
    writers: &[Writer],
    owners: &[String],
    shipped: impl FnOnce() -> bool,
) -> Provenance {
    if writers.is_empty() {
        return Provenance::Unexplained;
    }
    let owned = |writer: &Writer| owners.iter().any(|owner| owns(owner, writer));
    let package = |writer: &Writer| matches!(writer.class, Class::PackageManager(_));
    let expected = writers.iter().all(owned)
        || (writers.iter().all(|one| owned(one) || package(one)) && shipped());
    if expected { Provenance::Expected } else { Provenance::Unexplained }
}

/// Whether a change of these writers can turn out to be expected once a package manager is done.
pub(crate) fn may_turn_out(writers: &[Writer], owners: &[String]) -> bool {
    let of_manager = |writer: &Writer| matches!(writer.class, Class::PackageManager(_));
    writers.iter().any(of_manager) && of(writers, owners, || true) == Provenance::Expected
}

/// `unit:NAME`, or the name of a manager whose programs only root can put where they are.
fn owns(owner: &str, writer: &Writer) -> bool {
    if let Some(unit) = owner.strip_prefix("unit:") {
        return writer.origin.unit.as_deref() == Some(unit);
    }
    match &writer.class {
        // A package manager owns what it ships, which is another question.
        Class::PackageManager(_) | Class::Unexplained => false,
        Class::ConfigurationManager(name) => name == owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umbra_drift::watch::who::Origin;

    #[track_caller]
    fn check(writers: &[Writer], owners: &[&str], shipped: bool, expected: bool) {
        let owners: Vec<String> = owners.iter().map(|owner| (*owner).to_owned()).collect();
        let is = of(writers, &owners, || shipped) == Provenance::Expected;
        assert_eq!(is, expected, "{owners:?} {shipped}");
    }

    #[test]
    fn who_and_what_decide() {
        let anybody = Writer::unknown(7);
        let dpkg = Writer { class: Class::PackageManager("dpkg".into()), ..Writer::unknown(8) };
        let salt = Writer {
            class: Class::ConfigurationManager("salt-minion".into()),
            ..Writer::unknown(9)
        };
        let origin = Origin { unit: Some("cloud-init.service".into()), ..Origin::default() };
        let unit = Writer { origin, ..Writer::unknown(10) };
        check(&[], &["dpkg"], true, false);
        check(std::slice::from_ref(&anybody), &["dpkg"], true, false);
        check(std::slice::from_ref(&dpkg), &[], true, true);
        check(std::slice::from_ref(&dpkg), &["dpkg"], false, false);
        check(&[dpkg.clone(), anybody.clone()], &[], true, false);
        check(std::slice::from_ref(&salt), &[], false, false);
        check(&[salt.clone(), dpkg], &["salt-minion"], true, true);
        check(&[unit], &["unit:cloud-init.service"], false, true);
        check(&[salt, anybody], &["salt-minion"], false, false);
    }
}
