//! Certificates a machine serves: how long they last, and whose they are.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::context::Context;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::certificate::{BYTES_MAX, Certificates, read};
use crate::config::CertificateFact;
use crate::file;
use crate::reading::Reading;
use crate::render::time::rfc3339;

const DAY_S: f64 = 86_400.0;

/// A fact of the certificates in a file.
#[derive(Debug)]
pub(super) struct Certificate {
    paths: [PathBuf; 1],
    fact: CertificateFact,
}

impl Certificate {
    pub(super) fn new(path: &str, fact: CertificateFact) -> Self {
        Self { paths: [path.into()], fact }
    }
}

impl Source for Certificate {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        let [path] = &self.paths;
        let bytes = match file::read(context.place.root(), path, BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Fact::whole(Reading::Absent),
            Err(reason) => return Fact::unreadable(reason.to_string()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match read(&bytes) {
            Ok(found) => Fact::whole(Reading::text(text(&found, self.fact, now.as_secs_f64()))),
            Err(why) => Fact::unreadable(why),
        }
    }

    fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

fn text(found: &Certificates, fact: CertificateFact, now_unix_s: f64) -> String {
    match fact {
        // Ten seconds are the last digit.
        CertificateFact::DaysLeft => {
            format!("{:.4}\n", (found.ends_unix_s as f64 - now_unix_s) / DAY_S)
        }
        CertificateFact::Expires => {
            format!("{}\n", rfc3339(found.ends_unix_s.saturating_mul(1000)))
        }
        CertificateFact::Subject => format!("{}\n", found.own.subject),
        CertificateFact::Fingerprint => format!("{}\n", found.own.fingerprint),
    }
}
