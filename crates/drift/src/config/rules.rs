//! What a table of keys cannot say: which keys go with which source, names that must differ,
//! texts with a grammar of their own.
//!
//! Works on any tree, also one the structural check has found fault with: what cannot be
//! understood is passed over here, since it has been reported there.

use std::path::Path;

use globset::Glob;
use regex::bytes::RegexBuilder;
use umbra_document::check::shorten;
use umbra_document::formats::line;
use umbra_document::names;
use umbra_document::shape::{Word, or_list};
use umbra_document::source::Span;
use umbra_document::suggest::{advice, nearest};
use umbra_document::take;
use umbra_document::yaml::{Node, Value};
use umbra_document::{Found, Problem};

use super::shapes::PARAMETER;
use super::source::{self, CertificateFact, KernelFact, MemoryFact, MountFact};
use crate::format::{Format, Key, KeyError};
use crate::reading::Item;

/// The list of parameters and the path it stands at.
pub(super) fn parameters(root: &Node) -> (&'static str, &[Node]) {
    let under = |key| root.get(key).map(|list| (key, list.list()));
    under("parameters").or_else(|| under("monitoring")).unwrap_or(("", root.list()))
}

/// Records every such problem.
pub(super) fn check(root: &Node, found: &mut Found) {
    let (key, parameters) = parameters(root);
    names::unique(parameters, key, "parameter", found);
    let mut expressions = 0;
    for (index, node) in parameters.iter().enumerate() {
        let path = format!("{key}[{index}]");
        Rules { node, path: &path, expressions: &mut expressions, found }.check();
    }
}

/// The keys that belong to a source; all others go with any.
struct Source {
    word: &'static str,
    /// One of these must be there.
    needs: &'static [&'static str],
    allows: &'static [&'static str],
    /// Whether there is something to put back.
    restorable: bool,
}

const OF_SOURCES: [&str; 10] =
    ["path", "kind", "glob", "attrs", "key", "format", "view", "argv", "unit", "rollback"];

#[rustfmt::skip]
static RULES: &[Source] = &[
    Source { word: "file", needs: &["path", "glob"], allows: &["path", "kind", "glob", "attrs", "key", "format", "view", "rollback"], restorable: true },
    Source { word: "sysctl", needs: &["key", "glob"], allows: &["key", "glob", "rollback"], restorable: true },
    Source { word: "command", needs: &["argv"], allows: &["argv", "key", "format"], restorable: false },
    Source { word: "package", needs: &["key"], allows: &["key"], restorable: false },
    Source { word: "service", needs: &["unit"], allows: &["unit", "key"], restorable: false },
    Source { word: "listen", needs: &[], allows: &[], restorable: false },
    Source { word: "mount", needs: &[], allows: &["path", "key"], restorable: false },
    Source { word: "memory", needs: &["key"], allows: &["key"], restorable: false },
    Source { word: "certificate", needs: &["path"], allows: &["path", "key"], restorable: false },
    Source { word: "user", needs: &["key"], allows: &["key"], restorable: false },
    Source { word: "network", needs: &["key"], allows: &["key"], restorable: false },
    Source { word: "kernel", needs: &["key"], allows: &["key"], restorable: false },
];

struct Rules<'a> {
    node: &'a Node,
    /// Where the parameter stands, such as `parameters[2]`.
    path: &'a str,
    /// How many regular expressions came before.
    expressions: &'a mut usize,
    found: &'a mut Found,
}

impl Rules<'_> {
    fn check(&mut self) {
        self.name();
        let word = self.node.get("source").map_or(Some("file"), Node::text);
        // An unknown word has been reported, and what belongs to it is unknown too.
        if let Some(source) = RULES.iter().find(|source| Some(source.word) == word) {
            self.source(source);
            match source.word {
                "file" => self.file(),
                "command" => self.key_and_format(),
                "kernel" => self.fact("the kernel", KernelFact::WORDS),
                "mount" => self.mount(),
                "memory" => self.memory(),
                "certificate" => self.certificate(),
                _ => {}
            }
        }
        self.tolerance();
        self.expect();
        self.ignored_lines();
        self.patterns(self.node.get("nodiff"), "nodiff");
        let rollback = self.node.get("rollback");
        self.patterns(rollback.and_then(|rollback| rollback.get("never")), "rollback.never");
    }

    /// Alerts of the primary itself stand beside those of its parameters.
    fn name(&mut self) {
        let name = self.node.get("name");
        if let Some(name) = name.filter(|name| name.text() == Some(Item::PRIMARY)) {
            let message = format!("`{}` is what alerts call the machine itself", Item::PRIMARY);
            self.bad(name, message, "name");
        }
    }

    fn source(&mut self, source: &'static Source) {
        let word = source.word;
        if self.node.map().is_empty() {
            return;
        }
        let given = |key: &&str| self.has(key) || self.is_meant(key);
        if !source.needs.is_empty() && !source.needs.iter().any(given) {
            self.missing(&format!("a parameter from the source `{word}`"), source.needs, None);
        }
        for key in OF_SOURCES.iter().filter(|key| !source.allows.contains(key)) {
            let message = format!("`{key}` means nothing to the source `{word}`");
            self.refuse_key(key, message, "it would have no effect");
        }
        let action = self.node.get("on_drift").filter(|action| action.text() == Some("rollback"));
        let mode = self.node.get("rollback").and_then(|rollback| rollback.get("mode"));
        if let Some(action) = action {
            if !source.restorable {
                let message = format!("what the source `{word}` tells cannot be rolled back");
                self.bad(action, message, "on_drift");
            } else if mode.and_then(Node::text) == Some("never") {
                let message = "a parameter that is never rolled back is rolled back on drift";
                self.bad(action, message.to_owned(), "on_drift");
            }
        }
    }

    fn file(&mut self) {
        self.key_and_format();
        if self.has("path") && self.has("glob") {
            let message = "a parameter has a `path` or a `glob`, not both".to_owned();
            self.refuse_key("glob", message, "the second one");
        }
        let kind = self.node.get("kind").and_then(Node::text);
        let tree = self.has("glob") || kind == Some("tree");
        if self.has("glob") && kind == Some("file") {
            let message = "patterns match any number of files, never one".to_owned();
            self.refuse_key("kind", message, "leave this out, or give a `path`");
        }
        if tree {
            let message = "a key is looked up in one file, not in a tree".to_owned();
            self.refuse_key("key", message, "only allowed beside `path`");
        }
        self.patterns(self.node.get("glob"), "glob");
        if !tree && let Some(Value::List(_)) = self.node.get("nodiff").map(|node| &node.value) {
            let message = "one file has no paths to choose from".to_owned();
            self.refuse_key("nodiff", message, "write `true` or `false`");
        }
    }

    fn key_and_format(&mut self) {
        let format = self.node.get("format").and_then(Node::text);
        let command = self.node.get("source").and_then(Node::text) == Some("command");
        if command && !self.has("key") {
            let message = "an output without a `key` is compared as text".to_owned();
            self.refuse_key("format", message, "only allowed beside `key`");
        }
        if self.has("key") && !self.has("format") {
            let message = "a `key` needs the `format` of the text it is looked up in".to_owned();
            self.refuse_key("key", message, "for example `format: auto`");
        } else if self.has("key") && format == Some("raw") {
            let message = "a text without a format has no keys".to_owned();
            self.refuse_key("format", message, "name another format, or leave `key` out");
        } else if self.has("key") && format == Some(source::AUTO) && !command {
            let path = self.node.get("path").and_then(Node::text);
            if let Some(path) = path.filter(|path| Format::of(Path::new(path)) == Format::Raw) {
                let message = format!("the path `{}` does not tell a format", shorten(path));
                self.refuse_key("format", message, "name the format; there is nothing to look in");
            }
        }
        self.key();
    }

    /// A key that nobody understands would be absent on both sides, and never differ.
    fn key(&mut self) {
        let Some(node) = self.node.get("key") else { return };
        // What is no line has been reported.
        let Some(text) = node.text().filter(|text| line(text).is_ok()) else { return };
        let Err(KeyError { at, what, .. }) = text.parse::<Key>() else { return };
        let mut span = node.head();
        // Where the text stands as it is, its bytes can be pointed at.
        if span.end - span.start == text.len() && text.is_char_boundary(at) {
            let length = text[at..].chars().next().map_or(0, char::len_utf8);
            span = Span::new(span.file, span.start + at..span.start + at + length);
        }
        let message = format!("`{}` is no key", shorten(text));
        let problem = Problem::new("bad-value", message, span, what).at(self.at("key"));
        let help = "a name with dots or brackets in it stands in double quotes, such as \
                    '\"Match User bob\".X11Forwarding'; of JSONPath and of Augeas's paths what \
                    names one thing is understood";
        self.found.push(problem.help(help));
    }

    fn mount(&mut self) {
        self.fact("a mount", MountFact::WORDS);
        if self.has("key") && !self.has("path") {
            self.missing("a fact of a mount", &["path"], None);
        }
        if self.node.get("key").and_then(MountFact::read).is_some_and(MountFact::is_gauge) {
            self.gauge();
        }
    }

    fn memory(&mut self) {
        self.fact("memory", MemoryFact::WORDS);
        if self.node.get("key").and_then(MemoryFact::read).is_some() {
            self.gauge();
        }
    }

    fn certificate(&mut self) {
        self.fact("a certificate", CertificateFact::WORDS);
        if !self.has("key") {
            self.missing("a parameter from the source `certificate`", &["key"], None);
        }
        let fact = self.node.get("key").and_then(CertificateFact::read);
        if fact.is_some_and(CertificateFact::is_gauge) {
            self.gauge();
        }
    }

    /// A number that moves by itself, which nothing is held against unless it is said.
    fn gauge(&mut self) {
        if !["expect", "tolerance"].iter().any(|key| self.has(key) || self.is_meant(key)) {
            let help = "for example `expect: {le: 90}`, or `{ge: 14}` for what must not be few";
            self.missing("a number that moves by itself", &["expect", "tolerance"], Some(help));
        }
        let action = self.node.get("on_drift");
        if let Some(action) = action.filter(|action| action.text() == Some("rehearse")) {
            let message = "a number that moves by itself cannot be rehearsed".to_owned();
            self.bad(action, message, "on_drift");
        }
    }

    fn fact(&mut self, of: &str, words: &[Word]) {
        let Some(node) = self.node.get("key") else { return };
        let known: Vec<&str> = words.iter().map(|word| word.word).collect();
        let Some(text) = node.text().filter(|text| !known.contains(text)) else { return };
        let message = format!("{of} has no fact `{}`", shorten(text));
        let problem = Problem::new("bad-value", message, node.span, "unknown fact");
        self.found.push(problem.at(self.at("key")).help_if(advice(text, &known)));
    }

    /// One of these keys must be there and is not.
    fn missing(&mut self, what: &str, keys: &[&str], help: Option<&str>) {
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let message = format!("{what} needs {}", or_list(&keys));
        let problem = Problem::new("missing-key", message, self.node.head(), "not given");
        let problem = problem.at(self.path).help_if(help.map(str::to_owned));
        self.found.push(problem);
    }

    fn tolerance(&mut self) {
        let Some(node) = self.node.get("tolerance") else { return };
        let Value::Map(_) = node.value else { return };
        let distance = node.key_span("abs").or(node.key_span("rel"));
        let set = node.key_span("added").or(node.key_span("removed"));
        match (distance, set) {
            (Some(distance), Some(set)) => {
                let message = "a tolerance is a distance or a count for sets, not both";
                let problem = Problem::new("one-of", message, set, "a count for sets");
                let problem = problem.also(distance, "a distance");
                self.found.push(problem.at(self.at("tolerance")));
            }
            (None, None) if !node.map().iter().any(|(key, _)| key.text == "hysteresis") => {
                let message = "a tolerance needs `abs`, `rel`, `added` or `removed`".to_owned();
                self.bad(node, message, "tolerance");
            }
            _ => {}
        }
    }

    fn expect(&mut self) {
        let Some(node) = self.node.get("expect") else { return };
        let bound = |key| node.get(key).and_then(|node| take::number(node.scalar()?));
        if let (Some(ge), Some(le)) = (bound("ge"), bound("le"))
            && ge > le
        {
            let message = format!("no number is at least {ge} and at most {le}");
            self.bad(node, message, "expect");
        }
    }

    fn ignored_lines(&mut self) {
        let lines = self.node.get("ignore").and_then(|ignore| ignore.get("lines"));
        for node in lines.map(Node::list).unwrap_or_default() {
            let Some(text) = node.text().filter(|text| line(text).is_ok()) else { continue };
            *self.expressions += 1;
            if *self.expressions > EXPRESSIONS_MAX {
                if *self.expressions == EXPRESSIONS_MAX + 1 {
                    let message =
                        format!("a file has at most {EXPRESSIONS_MAX} regular expressions");
                    let problem = Problem::new("limit", message, node.span, "one too many");
                    self.found.push(problem.at(self.at("ignore.lines")));
                }
                return;
            }
            let compiled = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
            if let Err(error) = compiled {
                // The last line says what is wrong, those before it draw it.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or("").trim_start_matches("error: ");
                let message = format!("`{}` is no regular expression: {reason}", shorten(text));
                self.bad(node, message, "ignore.lines");
            }
        }
    }

    /// One pattern or a list of them.
    fn patterns(&mut self, node: Option<&Node>, key: &str) {
        let Some(node) = node else { return };
        for node in std::slice::from_ref(node).iter().chain(node.list()) {
            let Some(text) = node.text().filter(|text| !text.is_empty()) else { continue };
            let pattern = text.strip_prefix('!').unwrap_or(text);
            // What stands under `nodiff` may be a truth value.
            if key == "glob" && !pattern.starts_with('/') {
                let message = format!("the pattern `{}` does not begin with `/`", shorten(text));
                self.bad(node, message, key);
            } else if let Err(error) = Glob::new(pattern) {
                let message = format!("`{}` is no pattern: {}", shorten(text), error.kind());
                self.bad(node, message, key);
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    /// Whether an unknown key is a misspelling of this one: to report it as missing, too, would
    /// be two complaints about one slip.
    fn is_meant(&self, key: &str) -> bool {
        let known = |word: &str| PARAMETER.fields.iter().any(|field| field.key == word);
        let mut unknown = self.node.map().iter().filter(|(word, _)| !known(&word.text));
        unknown.any(|(word, _)| nearest(&word.text, [key]).is_some())
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn bad(&mut self, node: &Node, message: String, key: &str) {
        let problem = Problem::new("bad-value", message, node.head(), "");
        self.found.push(problem.at(self.at(key)));
    }

    fn refuse_key(&mut self, key: &str, message: String, beside: &str) {
        if let Some(span) = self.node.key_span(key) {
            let problem = Problem::new("not-allowed-here", message, span, beside);
            self.found.push(problem.at(self.at(key)));
        }
    }
}

/// How much a compiled expression may take; a short text can make a large one.
const EXPRESSION_BYTES_MAX: usize = 1 << 17;
const EXPRESSIONS_MAX: usize = 100;
