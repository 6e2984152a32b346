//! `goss.yaml`: resources that have a source in a drift configuration.
//!
//! goss says what must be, a drift configuration what must not change. A value that one source
//! reads alone becomes an `expect`; the others are held against the known good shadow, which is
//! told.

mod expected;

use std::collections::BTreeSet;

use umbra_document::formats::{ABSOLUTE, line as one_line};
use umbra_document::source::{Source, Span};
use umbra_document::yaml::{self, Key, Node};
use umbra_document::{Found, Problem, take};

use super::ImportError;
use super::draft::Draft;
use super::pattern::{globs, literal};
use crate::config;
use expected::{Expected, in_words};

/// What goes beside a resource and says nothing about the machine.
const OPTIONS: &[&str] = &["path", "name", "username", "groupname", "port", "mountpoint"];

/// Reads a whole file.
pub(super) fn read(text: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let source = Source { name: "goss.yaml".to_owned(), text: text.to_owned() };
    let mut found = Found::default();
    let root = yaml::parse(0, text, "goss file", &mut found);
    let Some(root) = root.filter(|_| !found.has_errors()) else {
        if let Some(at) = text.find(TEMPLATE) {
            let message = "the file is a template";
            let problem =
                Problem::new("yaml", message, Span::new(0, at..at + 2), "filled in by goss");
            found.push(problem.help("import what `goss render` makes of it"));
        }
        return Err(ImportError::Mistakes(found.into_problems(&[source])));
    };
    Reader { source: &source, draft, told: BTreeSet::new() }.file(&root);
    Ok(())
}

const TEMPLATE: &str = "{{";

struct Reader<'a> {
    source: &'a Source,
    draft: &'a mut Draft,
    /// What has been told once, for all lines it is true of.
    told: BTreeSet<&'static str>,
}

/// One resource.
struct Resource<'a> {
    line: usize,
    /// The word for its kind.
    kind: &'a str,
    id: &'a str,
    node: &'a Node,
}

impl Resource<'_> {
    fn get(&self, attribute: &str) -> Option<&Node> {
        self.node.get(attribute)
    }

    fn has(&self, attribute: &str) -> bool {
        self.get(attribute).is_some()
    }
}

impl Reader<'_> {
    fn line(&self, key: &Key) -> usize {
        self.source.position(key.span.start).line
    }

    fn once(&mut self, line: usize, what: &'static str) {
        if self.told.insert(what) {
            self.draft.note(line, what);
        }
    }

    fn file(&mut self, root: &Node) {
        for (kind, resources) in root.map() {
            if resources.map().is_empty() {
                let what = format!("`{}` holds no resources", kind.text);
                self.draft.note(self.line(kind), what);
            }
            let mut ports = Vec::new();
            for (key, node) in resources.map() {
                if self.draft.is_refused() {
                    return;
                }
                let line = self.line(key);
                let named = OPTIONS.iter().find_map(|option| node.get(option)?.text());
                let id = named.filter(|id| !id.is_empty()).unwrap_or(&key.text);
                let resource = Resource { line, kind: &kind.text, id, node };
                match self.usable(&resource) {
                    Ok(()) if kind.text == "port" => ports.push(resource),
                    Ok(()) => self.resource(&resource),
                    Err(why) => {
                        let what = format!("`{} {id}` is left out: {why}", kind.text);
                        self.draft.note(line, what);
                    }
                }
            }
            self.ports(&ports);
        }
    }

    fn usable(&self, resource: &Resource<'_>) -> Result<(), String> {
        let Resource { kind, id, node, .. } = resource;
        if *kind == "gossfile" {
            return Err("it is not read along: import it by itself".to_owned());
        }
        if id.contains(TEMPLATE) || self.source.slice(node.span).contains(TEMPLATE) {
            return Err("it is a template: import what `goss render` makes of it".to_owned());
        }
        if node.get("skip").and_then(Node::text) == Some("true") {
            return Err("it is skipped there".to_owned());
        }
        one_line(id).map_err(|why| format!("as a name {why}"))
    }

    fn resource(&mut self, resource: &Resource<'_>) {
        match resource.kind {
            "file" => self.path(resource),
            "package" => self.plain(resource, "package", "key", &["installed", "versions"]),
            "service" => self.service(resource),
            "user" => self.user(resource),
            "group" => self.group(resource),
            "mount" => self.mount(resource),
            "kernel-param" => self.setting(resource),
            "command" => self.command(resource),
            "interface" => self.interface(resource),
            kind => {
                let what = format!(
                    "`{kind} {}` is left out: it is a test rather than a fact, and the suites of \
                     umbra's recipes run goss files as they are",
                    resource.id
                );
                self.draft.note(resource.line, what);
            }
        }
    }

    /// Tells which attributes are only held against the shadow, and which are not looked at.
    /// `kept` are those that stay as they are.
    fn tell(&mut self, resource: &Resource<'_>, kept: &[&str], held: &[&str]) {
        let (mut compared, mut lost) = (Vec::new(), Vec::new());
        for (key, node) in resource.node.map() {
            let name = key.text.as_str();
            match name {
                "skip" => {}
                name if kept.contains(&name) || OPTIONS.contains(&name) => {}
                name if held.contains(&name) => {
                    compared.push(format!("{name}: {}", in_words(node)))
                }
                name => lost.push(name.to_owned()),
            }
        }
        let subject = format!("`{} {}`", resource.kind, resource.id);
        if !compared.is_empty() {
            let what = format!(
                "{subject} is held against the known good shadow, not against {}",
                compared.join(", ")
            );
            self.draft.note(resource.line, what);
        }
        if !lost.is_empty() {
            let what = format!("{subject}: nothing says {}", lost.join(", "));
            self.draft.note(resource.line, what);
        }
    }

    /// A parameter from a source that one key names.
    fn plain(&mut self, resource: &Resource<'_>, source: &str, key: &str, held: &[&str]) {
        self.tell(resource, &[], held);
        self.begin(resource, "", source);
        self.draft.text(key, resource.id);
    }

    /// Begins a parameter for a resource, or for what of it `part` says.
    fn begin(&mut self, resource: &Resource<'_>, part: &str, source: &str) {
        let name = format!("{} {} {part}", resource.kind, resource.id);
        self.draft.parameter(resource.line, &name);
        if !source.is_empty() {
            self.draft.key("source", source);
        }
    }

    /// The paths of resources that no configuration can name.
    fn refuse(&mut self, resource: &Resource<'_>, why: &str) {
        let what = format!("`{} {}` is left out: {why}", resource.kind, resource.id);
        self.draft.note(resource.line, what);
    }

    fn path(&mut self, resource: &Resource<'_>) {
        const ATTRIBUTES: [(&str, &str); 14] = [
            ("exists", "type"),
            ("filetype", "type"),
            ("mode", "mode"),
            ("owner", "owner"),
            ("uid", "owner"),
            ("group", "group"),
            ("gid", "group"),
            ("linked-to", "link"),
            ("contents", "content"),
            ("contains", "content"),
            ("size", "content"),
            ("md5", "content"),
            ("sha256", "content"),
            ("sha512", "content"),
        ];
        let Some(globs) = globs(&literal(resource.id)) else {
            return self.refuse(resource, "a path begins with `/`");
        };
        let held: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
        // An empty list of lines looks at nothing.
        let empty = |name: &str| {
            matches!(name, "contents" | "contains")
                && resource.get(name).is_some_and(|node| {
                    node.scalar().is_none() && node.list().is_empty() && node.map().is_empty()
                })
        };
        let kept: Vec<&str> = held.iter().copied().filter(|name| empty(name)).collect();
        self.tell(resource, &kept, &held);
        let mut words: Vec<&str> = Vec::new();
        for (name, word) in ATTRIBUTES {
            if resource.has(name) && !empty(name) && !words.contains(&word) {
                words.push(word);
            }
        }
        if words.is_empty() {
            words.push("type");
        }
        self.begin(resource, "", "");
        self.draft.list("glob", &globs);
        self.draft.key("attrs", &format!("[{}]", words.join(", ")));
    }

    fn service(&mut self, resource: &Resource<'_>) {
        /// What `systemctl is-active` and `is-enabled` are content with, and what not; a unit
        /// that is not there says nothing.
        const PROPERTIES: [(&str, &str, &[&str], &[&str]); 2] = [
            (
                "running",
                "ActiveState",
                &["active", "reloading", "refreshing"],
                &["inactive", "failed", "activating", "deactivating", ""],
            ),
            (
                "enabled",
                "UnitFileState",
                &["enabled", "enabled-runtime", "static", "alias", "indirect", "generated"],
                &[
                    "disabled",
                    "linked",
                    "linked-runtime",
                    "masked",
                    "masked-runtime",
                    "transient",
                    "bad",
                    "",
                ],
            ),
        ];
        let unit = match resource.id.rsplit_once('.') {
            Some((_, "service" | "socket" | "timer" | "mount" | "path" | "target")) => {
                resource.id.to_owned()
            }
            _ => format!("{}.service", resource.id),
        };
        if !config::is_unit(&unit) {
            return self.refuse(resource, "it is no name of a unit");
        }
        let expected = |name: &str, yes: &[&str], no: &[&str]| match resource.get(name)?.text()? {
            "true" => Some(Expected::one_of(yes)),
            "false" => Some(Expected::one_of(no)),
            _ => None,
        };
        let kept: Vec<&str> = PROPERTIES
            .iter()
            .filter(|(name, _, yes, no)| expected(name, yes, no).is_some())
            .map(|(name, ..)| *name)
            .collect();
        self.tell(resource, &kept, &["running", "enabled"]);
        let mut any = false;
        for (name, property, yes, no) in PROPERTIES {
            if !resource.has(name) {
                continue;
            }
            any = true;
            self.begin(resource, name, "service");
            self.draft.text("unit", &unit);
            self.draft.key("key", property);
            if let Some(expected) = expected(name, yes, no) {
                self.draft.key("expect", &expected.yaml());
            }
        }
        if !any {
            self.begin(resource, "", "service");
            self.draft.text("unit", &unit);
        }
    }

    fn user(&mut self, resource: &Resource<'_>) {
        let fields = self.fields(resource, &["uid", "gid", "home", "shell"]);
        self.tell(resource, &names(&fields), &["exists", "groups", "uid", "gid", "home", "shell"]);
        self.begin(resource, "", "user");
        self.draft.text("key", resource.id);
        self.write_fields(resource, "/etc/passwd", "passwd", &fields);
    }

    fn group(&mut self, resource: &Resource<'_>) {
        let fields = self.fields(resource, &["gid"]);
        self.tell(resource, &names(&fields), &["exists", "gid"]);
        self.begin(resource, "", "");
        self.draft.key("path", "/etc/group");
        self.draft.key("format", "group");
        self.draft.text("key", &in_key(resource.id));
        self.write_fields(resource, "/etc/group", "group", &fields);
    }

    /// What is expected of fields of an account.
    fn fields<'n>(&self, resource: &Resource<'_>, names: &[&'n str]) -> Vec<(&'n str, Expected)> {
        let field = |name: &&'n str| Some((*name, Expected::of(resource.get(name)?)?));
        names.iter().filter_map(field).collect()
    }

    fn write_fields(
        &mut self,
        resource: &Resource<'_>,
        path: &str,
        format: &str,
        fields: &[(&str, Expected)],
    ) {
        for (name, expected) in fields {
            self.begin(resource, name, "");
            self.draft.key("path", path);
            self.draft.key("format", format);
            self.draft.text("key", &format!("{}.{name}", in_key(resource.id)));
            self.draft.key("expect", &expected.yaml());
        }
    }

    fn mount(&mut self, resource: &Resource<'_>) {
        if (ABSOLUTE.check)(resource.id).is_err() {
            return self.refuse(resource, "a path begins with `/`, and goes nowhere by `..`");
        }
        let held = ["exists", "opts", "vfs-opts", "source", "filesystem"];
        self.plain(resource, "mount", "path", &held);
    }

    fn setting(&mut self, resource: &Resource<'_>) {
        let expected = resource.get("value").and_then(Expected::of);
        let kept: &[&str] = if expected.is_some() { &["value"] } else { &[] };
        self.tell(resource, kept, &["value"]);
        self.begin(resource, "", "sysctl");
        self.draft.text("key", resource.id);
        if let Some(expected) = expected {
            self.draft.key("expect", &expected.yaml());
        }
    }

    fn command(&mut self, resource: &Resource<'_>) {
        let script = resource.get("exec").and_then(Node::text).unwrap_or(resource.id);
        if script.contains('\0') {
            return self.refuse(resource, "no argument holds a NUL byte");
        }
        let status = resource.get("exit-status").map(|node| node.text().unwrap_or_default());
        if status.is_some_and(|status| status != "0") {
            let why = "a program that ends with anything but 0 is unreadable here";
            return self.refuse(resource, why);
        }
        // Lists hold lines that are somewhere in the output; one text is all of it.
        let output = resource.get("stdout").filter(|node| node.scalar().is_some());
        let expected = output.and_then(Expected::of);
        let nothing = |name: &str| {
            let empty = |node: &Node| {
                node.list().is_empty()
                    && node.map().is_empty()
                    && node.text().is_none_or(str::is_empty)
            };
            resource.get(name).is_some_and(empty)
        };
        let mut kept = vec!["exec", "timeout", "exit-status"];
        kept.extend(["stdout", "stderr"].into_iter().filter(|name| nothing(name)));
        kept.extend(expected.as_ref().map(|_| "stdout"));
        self.tell(resource, &kept, &["stdout"]);
        let how = "commands are run by `/bin/sh`, as nobody and every 30 seconds, here and further \
                   down: `user` and `poll` say otherwise";
        self.once(resource.line, how);
        self.begin(resource, "", "command");
        self.draft.list("argv", &["/bin/sh", "-c", script]);
        let timeout = resource.get("timeout").and_then(take::int::<u32>);
        let timeout = timeout.filter(|timeout| (1..1_000_000_000).contains(timeout));
        self.draft.key("timeout", &format!("{}ms", timeout.unwrap_or(10_000)));
        if let Some(expected) = expected.filter(|_| !nothing("stdout")) {
            self.draft.key("expect", &expected.yaml());
        }
    }

    fn interface(&mut self, resource: &Resource<'_>) {
        if resource.id.contains('/') {
            return self.refuse(resource, "no interface has such a name");
        }
        let mtu = resource.get("mtu").and_then(Expected::of);
        let kept: &[&str] = if mtu.is_some() { &["mtu"] } else { &[] };
        self.tell(resource, kept, &["exists", "addrs", "mtu"]);
        // Every interface has a type, and it never changes.
        self.begin(resource, "", "network");
        self.draft.text("key", &format!("link.{}.type", resource.id));
        if resource.has("mtu") {
            self.begin(resource, "mtu", "network");
            self.draft.text("key", &format!("link.{}.mtu", resource.id));
            if let Some(mtu) = mtu {
                self.draft.key("expect", &mtu.yaml());
            }
        }
        let told = "the addresses of all interfaces are held against the shadow";
        if resource.has("addrs") && !self.told.contains(told) {
            self.once(resource.line, told);
            self.draft.parameter(resource.line, "addresses");
            self.draft.key("source", "network");
            self.draft.key("key", "addresses");
            self.draft.key("tolerance", "{added: 0, removed: 0}");
        }
    }

    /// All ports become one parameter.
    fn ports(&mut self, ports: &[Resource<'_>]) {
        let Some(first) = ports.first() else { return };
        for port in ports {
            self.tell(port, &[], &["listening", "ip"]);
        }
        let of = |protocol: &str| ports.iter().any(|port| port.id.starts_with(protocol));
        let told = "all ports are held against the shadow, not only those that are named";
        self.once(first.line, told);
        self.draft.parameter(first.line, "ports");
        self.draft.key("source", "listen");
        self.draft.key("tolerance", "{added: 0, removed: 0}");
        match (of("tcp"), of("udp")) {
            (true, false) => self.draft.key("ignore", "{lines: ['^udp ']}"),
            (false, true) => self.draft.key("ignore", "{lines: ['^tcp ']}"),
            _ => {}
        }
    }
}

fn names<'n>(fields: &[(&'n str, Expected)]) -> Vec<&'n str> {
    fields.iter().map(|(name, _)| *name).collect()
}

/// A name as it stands in a key of a file.
fn in_key(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.bytes().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::{Tool, parse};
    use super::*;

    /// What a resource becomes: the lines of its parameters, and how much is told.
    #[track_caller]
    fn check(resource: &str, expected: &[&str], notes: usize) {
        let imported = parse(Tool::Goss, resource).expect("a configuration");
        config::parse("x", &imported.text)
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let lines = imported.text.lines().skip(4).map(str::trim_start);
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
        let names = lines.iter().map(|line| line.split("  # line").next().unwrap_or(line));
        assert_eq!(names.collect::<Vec<_>>(), expected, "{resource}");
        assert_eq!(imported.notes.len(), notes, "{resource}\n{:#?}", imported.notes);
    }

    #[test]
    fn what_a_source_reads_alone_is_expected() {
        check(
            "kernel-param: {vm.swappiness: {value: '60'}}",
            &[
                "- name: \"kernel-param vm.swappiness\"",
                "source: sysctl",
                "key: \"vm.swappiness\"",
                "expect: {one_of: [\"60\"]}",
            ],
            0,
        );
        check(
            "service: {sshd: {running: true}}",
            &[
                "- name: \"service sshd running\"",
                "source: service",
                "unit: \"sshd.service\"",
                "key: ActiveState",
                "expect: {one_of: [\"active\", \"reloading\", \"refreshing\"]}",
            ],
            0,
        );
        check(
            "user: {a.b: {uid: 1, exists: true}}",
            &[
                "- name: \"user a.b\"",
                "source: user",
                "key: \"a.b\"",
                "- name: \"user a.b uid\"",
                "path: /etc/passwd",
                "format: passwd",
                "key: \"\\\"a.b\\\".uid\"",
                "expect: {one_of: [\"1\"]}",
            ],
            1,
        );
        check(
            "command: {x: {exec: 'id -u', exit-status: 0, stdout: \"0\\n\", timeout: 5}}",
            &[
                "- name: \"command x\"",
                "source: command",
                "argv: [\"/bin/sh\", \"-c\", \"id -u\"]",
                "timeout: 5ms",
                "expect: {one_of: [\"0\"]}",
            ],
            1,
        );
    }

    #[test]
    fn the_rest_is_held_against_the_shadow() {
        check(
            "file: {/etc/x: {exists: true, mode: '0644', contents: [], what: 1}}",
            &["- name: \"file /etc/x\"", "glob: [\"/etc/x\"]", "attrs: [type, mode]"],
            2,
        );
        check(
            "package: {nginx: {installed: true}}",
            &["- name: \"package nginx\"", "source: package", "key: \"nginx\""],
            1,
        );
        check(
            "port: {'tcp:22': {listening: true}, 'tcp6:80': {listening: true}}",
            &[
                "- name: \"ports\"",
                "source: listen",
                "tolerance: {added: 0, removed: 0}",
                "ignore: {lines: ['^udp ']}",
            ],
            3,
        );
        check(
            "interface: {eth0: {mtu: {gt: 1000}}}",
            &[
                "- name: \"interface eth0\"",
                "source: network",
                "key: \"link.eth0.type\"",
                "- name: \"interface eth0 mtu\"",
                "source: network",
                "key: \"link.eth0.mtu\"",
                "expect: {ge: 1001}",
            ],
            0,
        );
        check(
            "mount: {/: {exists: true, usage: {lt: 90}}}",
            &["- name: \"mount /\"", "source: mount", "path: \"/\""],
            2,
        );
    }

    #[test]
    fn what_has_no_source_is_told() {
        let text = "kernel-param: {a: {value: '1'}}\nhttp: {'http://a': {status: 200}}\n\
                    gossfile: {b.yaml: {}}\nprocess: {c: {running: true}}\n\
                    package: {d: {installed: true, skip: true}, '{{.e}}': {installed: true}}\n\
                    command: {f: {exit-status: 1}}\nfile: {x: {exists: true}}\ndns: {}\n";
        let imported = parse(Tool::Goss, text).expect("a configuration");
        assert_eq!((imported.parameters, imported.notes.len()), (1, 8), "{:#?}", imported.notes);
    }

    #[test]
    fn a_template_says_what_to_do() {
        match parse(Tool::Goss, "{{range .a}}\nfile:\n") {
            Err(ImportError::Mistakes(problems)) => {
                let shown = problems.render(false);
                assert!(shown.contains("goss render"), "{shown}");
            }
            other => panic!("{other:?}"),
        }
    }
}
