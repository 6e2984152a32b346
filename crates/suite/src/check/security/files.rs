//! Permissions: setuid and setgid programs, capabilities, what everybody may write.

use umbra_state::{Content, Meta, Node};

use super::finding::{Raw, Severity};
use super::{Changed, Scan};

const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;
const STICKY: u16 = 0o1000;
const EXECUTABLE: u16 = 0o111;
const WORLD_WRITABLE: u16 = 0o002;
const CAPABILITY: &[u8] = b"security.capability";

/// One thing permissions can say about a path.
struct Rule {
    id: &'static str,
    severity: Severity,
    message: &'static str,
    advice: &'static str,
    applies: fn(&Node) -> bool,
}

const RULES: [Rule; 5] = [
    Rule {
        id: "setuid-file",
        severity: Severity::High,
        message: "it runs with its owner's rights whoever starts it (setuid)",
        advice: "remove the bit (chmod u-s), or allow it with a reason",
        applies: |node| is_file(node) && node.meta().mode & SETUID != 0,
    },
    Rule {
        id: "setgid-file",
        severity: Severity::High,
        message: "it runs with its group's rights whoever starts it (setgid)",
        advice: "remove the bit (chmod g-s), or allow it with a reason",
        // Without execute permission the bit asks for mandatory locking and gives nothing.
        applies: |node| {
            is_file(node) && node.meta().mode & SETGID != 0 && node.meta().mode & EXECUTABLE != 0
        },
    },
    Rule {
        id: "file-capability",
        severity: Severity::High,
        message: "it gains capabilities whoever starts it",
        advice: "remove them (setcap -r), or allow them with a reason",
        applies: |node| is_file(node) && node.meta().xattrs.contains_key(CAPABILITY),
    },
    Rule {
        id: "world-writable-file",
        severity: Severity::High,
        message: "everybody may write it",
        advice: "take the permission away (chmod o-w)",
        applies: |node| is_file(node) && node.meta().mode & WORLD_WRITABLE != 0,
    },
    Rule {
        id: "world-writable-directory",
        severity: Severity::High,
        message: "everybody may add, rename and delete names in it, others' included",
        advice: "take the permission away (chmod o-w), or set the sticky bit (chmod +t)",
        applies: |node| {
            let mode = node.meta().mode;
            matches!(node, Node::Dir(_)) && mode & WORLD_WRITABLE != 0 && mode & STICKY == 0
        },
    },
];

pub(super) fn scan(changed: &[Changed], scan: &mut Scan) {
    for change in changed {
        for rule in RULES.iter().filter(|rule| (rule.applies)(&change.after)) {
            let was_there = change.before.as_ref().is_some_and(|before| {
                (rule.applies)(before) && same_rights(rule, before.meta(), change.after.meta())
            });
            scan.raws.push(Raw {
                rule: rule.id.into(),
                severity: rule.severity,
                path: Some(change.path.clone()),
                line: None,
                message: rule.message.to_owned(),
                advice: rule.advice.into(),
                key: Vec::new(),
                was_there,
            });
        }
    }
    scan.note("permissions", format!("{} changed paths looked at", changed.len()));
}

/// The bit alone is not the right: another owner or other capabilities make it a new one.
fn same_rights(rule: &Rule, before: &Meta, after: &Meta) -> bool {
    match rule.id {
        "setuid-file" => before.uid == after.uid,
        "setgid-file" => before.gid == after.gid,
        "file-capability" => before.xattrs.get(CAPABILITY) == after.xattrs.get(CAPABILITY),
        _ => true,
    }
}

fn is_file(node: &Node) -> bool {
    matches!(node, Node::Leaf(leaf) if matches!(leaf.content, Content::Inline(_) | Content::Object { .. }))
}
