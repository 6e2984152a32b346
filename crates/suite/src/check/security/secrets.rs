//! Secrets in changed text files: private keys, tokens of known services, passwords.

use std::sync::LazyLock;
use std::time::Instant;

use regex::bytes::Regex;
use umbra_state::{Content, Node};

use super::finding::{Raw, Severity};
use super::{Changed, Scan, SecurityCheck};
use crate::runner::Context;
use crate::target::{ProbeError, Target, root};

/// A pattern whose first group, or whole match, is the secret.
struct Rule {
    id: &'static str,
    severity: Severity,
    message: &'static str,
    pattern: &'static str,
}

const RULES: [Rule; 8] = [
    Rule {
        id: "private-key",
        severity: Severity::High,
        message: "a private key",
        pattern: r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s+([A-Za-z0-9+/=:, -]{16,})",
    },
    Rule {
        id: "aws-access-key",
        severity: Severity::High,
        message: "an AWS access key",
        pattern: r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b",
    },
    Rule {
        id: "github-token",
        severity: Severity::High,
        message: "a GitHub token",
        pattern: r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    },
    Rule {
        id: "gitlab-token",
        severity: Severity::High,
        message: "a GitLab token",
        pattern: r"\b(gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,64})\b",
    },
    Rule {
        id: "slack-token",
        severity: Severity::High,
        message: "a Slack token",
        pattern: r"\b(xox[abeprs]-[0-9A-Za-z-]{10,250})\b",
    },
    Rule {
        id: "google-api-key",
        severity: Severity::High,
        message: "a Google API key",
        pattern: r"\b(AIza[0-9A-Za-z_-]{35})\b",
    },
    Rule {
        id: "url-password",
        severity: Severity::High,
        message: "a URL with a password",
        pattern: r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:@/'\x22]{1,64}:([^\s:@/'\x22$<>{}]{6,128})@[A-Za-z0-9]",
    },
    Rule {
        id: "password",
        severity: Severity::Medium,
        message: "what looks like a password",
        pattern: r"(?i)(?:password|passwd|secret|api_?-?key|(?:auth|access|refresh)_?-?token)['\x22]?[ \t]*[:=][ \t]*['\x22]?([^\s'\x22#;,<>{}()$&%*]{8,128})",
    },
];

static PATTERNS: LazyLock<Vec<(&'static Rule, Regex)>> = LazyLock::new(|| {
    // The patterns are constants; a test compiles each of them.
    RULES.iter().filter_map(|rule| Some((rule, Regex::new(rule.pattern).ok()?))).collect()
});

/// Documentation and examples are full of what looks like a password and is none.
const EXAMPLES: [&[u8]; 5] = [
    b"usr/share/doc/",
    b"usr/share/man/",
    b"usr/share/locale/",
    b"usr/share/info/",
    b"var/lib/dpkg/",
];

const HEAD_BYTES: usize = 8 << 10;
const PER_FILE_MAX: usize = 50;

/// Bits per character below which a text is a word and no secret.
const ENTROPY_BITS_MIN: f64 = 3.0;

pub(super) fn scan(
    check: &SecurityCheck,
    changed: &[Changed],
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
    scan: &mut Scan,
) {
    let (mut read, mut large, mut binary) = (0u64, 0u64, 0u64);
    for change in changed.iter().filter(|change| change.content) {
        if context.is_cancelled() {
            return scan.blind(&ProbeError::Cancelled);
        }
        if Instant::now() >= deadline {
            return scan.blind(&ProbeError::Late { what: "read every changed file" });
        }
        match content(change, target, check.file_bytes_max) {
            Ok(Read::Text(text)) => {
                read += 1;
                scan.raws.extend(find(&change.path, &text));
            }
            Ok(Read::TooLarge) => large += 1,
            Ok(Read::Binary) => binary += 1,
            Ok(Read::NoFile) => {}
            Err(error) => scan.blind(&error),
        }
    }
    let said = format!(
        "{read} changed text files read; not read: {binary} binary, {large} larger than {} bytes",
        check.file_bytes_max
    );
    scan.note("secrets", said);
}

/// What reading a changed file gave.
pub(super) enum Read {
    Text(Vec<u8>),
    Binary,
    TooLarge,
    NoFile,
}

/// The content of a changed path, from the tree where it is inline.
pub(super) fn content(
    change: &Changed,
    target: &dyn Target,
    bytes_max: u64,
) -> Result<Read, ProbeError> {
    let Node::Leaf(leaf) = &change.after else { return Ok(Read::NoFile) };
    let bytes = match &leaf.content {
        Content::Inline(bytes) => bytes.to_vec(),
        Content::Object { size, .. } if *size > bytes_max => return Ok(Read::TooLarge),
        Content::Object { .. } => match root::read_file(target.root(), &change.path, bytes_max) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(ProbeError::FileTooLarge { .. }) => return Ok(Read::TooLarge),
            Err(error) => return Err(error),
        },
        _ => return Ok(Read::NoFile),
    };
    match bytes[..bytes.len().min(HEAD_BYTES)].contains(&0) {
        true => Ok(Read::Binary),
        false => Ok(Read::Text(bytes)),
    }
}

/// The secrets in one file, at most so many.
fn find(path: &[u8], text: &[u8]) -> Vec<Raw> {
    let is_example = EXAMPLES.iter().any(|folder| path.starts_with(folder));
    let mut raws = Vec::new();
    for (rule, pattern) in PATTERNS.iter() {
        if rule.id == "password" && is_example {
            continue;
        }
        for captures in pattern.captures_iter(text) {
            let Some(secret) = captures.get(1).or_else(|| captures.get(0)) else { continue };
            if is_placeholder(rule, secret.as_bytes()) {
                continue;
            }
            let line = text[..secret.start()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            raws.push(Raw {
                rule: rule.id.into(),
                severity: rule.severity,
                path: Some(path.to_vec()),
                line: Some(line as u64),
                message: rule.message.to_owned(),
                advice:
                    "take it out of the image, renew it, and hand it over when the machine starts"
                        .into(),
                key: secret.as_bytes().to_vec(),
                was_there: false,
            });
            if raws.len() == PER_FILE_MAX {
                return raws;
            }
        }
    }
    raws
}

/// Whether a match is a name, an example or a reference rather than a secret.
fn is_placeholder(rule: &Rule, secret: &[u8]) -> bool {
    if !matches!(rule.id, "password" | "url-password") {
        return false;
    }
    let lower = secret.to_ascii_lowercase();
    let words: [&[u8]; 8] =
        [b"example", b"changeme", b"xxxx", b"password", b"your", b"dummy", b"placeholder", b"/"];
    words.iter().any(|word| crate::pattern::contains(&lower, word))
        || (rule.id == "password" && entropy_bits(secret) < ENTROPY_BITS_MIN)
        // A real generated secret mixes kinds of characters; an identifier does not.
        || (rule.id == "password" && !(lower.iter().any(u8::is_ascii_digit) && lower.iter().any(u8::is_ascii_alphabetic)))
}

/// Shannon entropy of the bytes, in bits per byte.
fn entropy_bits(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    let total = bytes.len() as f64;
    let share = |&count: &u32| f64::from(count) / total;
    -counts.iter().filter(|&&count| count > 0).map(share).map(|p| p * p.log2()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, rules: &[&str]) {
        let found = find(b"etc/app.conf", text.as_bytes());
        let found: Vec<_> = found.iter().map(|raw| raw.rule.as_ref()).collect();
        assert_eq!(found, rules, "{text}");
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.len(), RULES.len());
    }

    #[test]
    fn secrets_are_found() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA\n";
        check(key, &["private-key"]);
        check("id = AKIA1234567890ABCDEF", &["aws-access-key"]);
        check(&format!("t: ghp_{}", "a1B2".repeat(9)), &["github-token"]);
        check("x glpat-abcdefghij0123456789 y", &["gitlab-token"]);
        check("hook xoxb-123456789012-abcdef", &["slack-token"]);
        check("db: postgres://app:s3cr3t-pw@db/app", &["url-password"]);
        check("db_password = \"hX9!kq27LmZp\"", &["password"]);
        check("API_KEY: 9f8a7b6c5d4e3f2a1b0c", &["password"]);
    }

    #[test]
    fn what_only_looks_like_one_is_left_alone() {
        check("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZI\n", &[]);
        check("# -----BEGIN PRIVATE KEY----- goes here", &[]);
        check("password = changeme123", &[]);
        check("password: ${DB_PASSWORD}", &[]);
        check("password_file = /run/secrets/db1", &[]);
        check("secret: aaaaaaaaaaa1", &[]);
        check("password = get_password_from_vault", &[]);
        let example = find(b"usr/share/doc/x/README", b"password = hX9!kq27LmZp");
        assert!(example.is_empty());
    }

    #[test]
    fn lines_are_told_and_the_secret_is_not() {
        let raws = find(b"a", b"one\ntwo\nkey AKIA1234567890ABCDEF\n");
        assert_eq!(raws[0].line, Some(3));
        let findings = super::super::settle(raws, false, None, |_| None);
        let shown = format!("{findings:?}");
        assert!(!shown.contains("AKIA1234567890ABCDEF"), "{shown}");
    }

    proptest! {
        #[test]
        fn never_panics_and_is_bounded(text in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert!(find(b"x", &text).len() <= PER_FILE_MAX);
        }
    }
}
