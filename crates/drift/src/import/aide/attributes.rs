//! What of a path AIDE compares, and what of that has a counterpart.

use std::collections::{BTreeSet, HashMap};

/// Attributes by their names in `aide.conf`.
pub(super) type Attributes = BTreeSet<&'static str>;

/// Of what stands in a file, the digest is compared.
const HASHES: &[&str] = &[
    "md5",
    "sha1",
    "sha256",
    "sha512",
    "sha512_256",
    "sha3_256",
    "sha3_512",
    "rmd160",
    "tiger",
    "haval",
    "gost",
    "crc32",
    "crc32b",
    "whirlpool",
    "stribog256",
    "stribog512",
];

/// An attribute that is carried over.
const CARRIED: &[(&str, &str)] = &[
    ("ftype", "type"),
    ("p", "mode"),
    ("u", "owner"),
    ("g", "group"),
    ("acl", "acl"),
    ("xattrs", "xattr"),
    ("selinux", "xattr"),
    ("caps", "caps"),
    ("l", "link"),
];

/// An attribute that is not, and what it is. What only makes reports shorter leaves nothing out.
const LOST: &[(&str, &str)] = &[
    ("i", "the inode"),
    ("n", "the number of links"),
    ("b", "the block count"),
    ("m", "the time of modification"),
    ("a", "the time of access"),
    ("c", "the time of change"),
    ("e2fsattrs", "attributes of ext filesystems"),
    ("fstype", "the filesystem's type"),
];

/// What AIDE does beside comparing, and what happens instead.
const SPECIAL: &[(&str, &str)] = &[
    ("I", "a file that was renamed is told as gone and new (`I`)"),
    ("compressed", "a file that was compressed is told as gone and new (`compressed`)"),
    ("ANF", "new files are told (`ANF`)"),
    ("ARF", "files that are gone are told (`ARF`)"),
];

const GROWING: [&str; 2] = ["growing", "S"];
const SIZE: &str = "s";

/// Groups of attributes: those that AIDE has, and those that the file defines.
#[derive(Debug, Default)]
pub(super) struct Groups {
    own: HashMap<String, Attributes>,
}

impl Groups {
    pub(super) fn define(&mut self, name: &str, attributes: Attributes) {
        self.own.insert(name.to_owned(), attributes);
    }

    /// The attributes of an expression such as `p+u-acl`, and the names in it that nobody knows.
    pub(super) fn expression(&self, text: &str) -> (Attributes, Vec<String>) {
        let (mut attributes, mut unknown) = (Attributes::new(), Vec::new());
        for (sign, name) in terms(text).into_iter().filter(|(_, name)| !name.is_empty()) {
            match self.named(name) {
                None => unknown.push(name.to_owned()),
                Some(named) if sign == '-' => attributes.retain(|one| !named.contains(one)),
                Some(named) => attributes.extend(named),
            }
        }
        (attributes, unknown)
    }

    fn named(&self, name: &str) -> Option<Attributes> {
        if let Some(own) = self.own.get(name) {
            return Some(own.clone());
        }
        let of = |names: &[&'static str]| Some(names.iter().copied().collect::<Attributes>());
        const EXTRA: [&str; 5] = ["acl", "selinux", "xattrs", "e2fsattrs", "caps"];
        match name {
            "R" => {
                let common = ["p", "ftype", "i", "l", "n", "u", "g", "s", "m", "c", "sha3_256"];
                of(&[&common[..], &EXTRA].concat())
            }
            "L" => of(&[&["p", "ftype", "i", "l", "n", "u", "g"][..], &EXTRA].concat()),
            ">" => {
                let common = ["p", "ftype", "l", "u", "g", "i", "n", "s", "growing"];
                of(&[&common[..], &EXTRA].concat())
            }
            "H" => of(HASHES),
            "X" => of(&EXTRA),
            "E" => of(&[]),
            name => {
                let pairs = [CARRIED, LOST, SPECIAL].concat();
                let mut plain = HASHES.iter().chain(&GROWING).chain([&SIZE]);
                let known = pairs.iter().map(|(known, _)| known).find(|known| **known == name);
                let known = known.or_else(|| plain.find(|known| **known == name));
                known.and_then(|known| of(&[known]))
            }
        }
    }
}

/// Names, each with the sign before it.
fn terms(text: &str) -> Vec<(char, &str)> {
    let (mut sign, mut rest) = ('+', text);
    let mut terms = Vec::new();
    while let Some(at) = rest.find(['+', '-']) {
        terms.push((sign, rest[..at].trim()));
        sign = if rest[at..].starts_with('-') { '-' } else { '+' };
        rest = &rest[at + 1..];
    }
    terms.push((sign, rest.trim()));
    terms
}

/// The words for `attrs`, and what they do not say.
pub(super) fn carried(attributes: &Attributes) -> (Vec<&'static str>, Vec<String>) {
    let (mut words, mut differences) = (Vec::new(), Vec::new());
    let has = |name: &str| attributes.contains(name);
    let hashed = HASHES.iter().any(|hash| has(hash));
    if GROWING.iter().any(|growing| has(growing)) {
        let said = "whether a growing file still has what it had is not looked at: its content is \
                    not compared";
        differences.push(said.to_owned());
    } else if hashed || has(SIZE) {
        words.push("content");
        if !hashed {
            differences.push("not only the size but the content is compared".to_owned());
        }
    }
    for (_, word) in CARRIED.iter().filter(|(name, _)| has(name)) {
        if !words.contains(word) {
            words.push(word);
        }
    }
    let lost: Vec<&str> =
        LOST.iter().filter(|(name, _)| has(name)).map(|(_, what)| *what).collect();
    if let Some((last, others)) = lost.split_last() {
        let all = match others {
            [] => (*last).to_owned(),
            others => format!("{} and {last}", others.join(", ")),
        };
        differences
            .push(format!("{all} {} not compared", if lost.len() == 1 { "is" } else { "are" }));
    }
    let special = SPECIAL.iter().filter(|(name, _)| has(name));
    differences.extend(special.map(|(_, what)| (*what).to_owned()));
    if words.is_empty() {
        words.push("type");
        differences.push("the type of a path is compared, since something must be".to_owned());
    }
    (words, differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, words: &[&str], differences: &[&str]) {
        let mut groups = Groups::default();
        let (own, unknown) = groups.expression("p+i+u+g+sha256");
        assert!(unknown.is_empty());
        groups.define("Own", own);
        let (attributes, unknown) = groups.expression(expression);
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(carried(&attributes).0, words, "{expression}");
        assert_eq!(carried(&attributes).1, differences, "{expression}");
    }

    #[test]
    fn expressions_become_attributes() {
        check("Own", &["content", "mode", "owner", "group"], &["the inode is not compared"]);
        check("Own-i-sha256", &["mode", "owner", "group"], &[]);
        let times = "the time of modification and the time of change are not compared";
        check("Own - i + m+c", &["content", "mode", "owner", "group"], &[times]);
        check("X-e2fsattrs", &["acl", "xattr", "caps"], &[]);
        check("s", &["content"], &["not only the size but the content is compared"]);
        check("H+ANF", &["content"], &["new files are told (`ANF`)"]);
        let nothing = "the type of a path is compared, since something must be";
        check("E", &["type"], &[nothing]);
        check(
            ">-X-i-n",
            &["type", "mode", "owner", "group", "link"],
            &["whether a growing file still has what it had is not looked at: its content is not \
             compared"],
        );
    }

    #[test]
    fn what_nobody_knows_is_said() {
        let (attributes, unknown) = Groups::default().expression("p+nonsense--u+");
        assert_eq!(attributes, Attributes::from(["p"]));
        assert_eq!(unknown, ["nonsense"]);
    }
}
