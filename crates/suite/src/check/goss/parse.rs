//! Reads a goss file; every problem in it is found at once, each with its place.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use umbra_state::escape::escape;

use super::schema::{COMMON, SCHEMAS, Schema};
use super::value::{Key, Node, Value};
use super::{GossFile, Kind, Matcher, Resource, value};

/// The reader's own errors quote what they found.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// More problems than a person reads at once are left out.
pub const PROBLEMS_MAX: usize = 100;

/// Something wrong with a goss file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossProblem {
    /// The file, as the caller named it; empty where only one can be meant.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong and what was expected, escaped.
    pub message: String,
}

impl GossProblem {
    pub(super) fn at(node: &Node, message: impl Into<String>) -> Self {
        let (line, column) = (node.line, node.column);
        Self { file: String::new(), line, column, message: message.into() }
    }

    fn at_key(key: &Key, message: impl Into<String>) -> Self {
        let (line, column) = (key.line, key.column);
        Self { file: String::new(), line, column, message: message.into() }
    }
}

impl fmt::Display for GossProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for GossProblem {}

/// A file that is included, and where it is named.
#[derive(Debug)]
pub(super) struct Include {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl GossFile {
    /// Reads the text of a file named `file`; includes are a problem here, see
    /// [`GossFile::load`].
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<GossProblem>> {
        let (goss, includes) = parse_with_includes(file, text)?;
        let refuse = |include: &Include| GossProblem {
            file: file.to_owned(),
            line: include.line,
            column: include.column,
            message: "a gossfile cannot be included here".to_owned(),
        };
        match includes.is_empty() {
            true => Ok(goss),
            false => Err(includes.iter().map(refuse).collect()),
        }
    }
}

/// Reads one file; what it includes is listed, not read.
pub(super) fn parse_with_includes(
    file: &str,
    text: &str,
) -> Result<(GossFile, Vec<Include>), Vec<GossProblem>> {
    let mut reader = Reader::default();
    match value::parse(text) {
        Ok(root) => reader.file(&root),
        Err(error) => {
            let (line, column) = (error.line, error.column);
            let mut message: String = error.message.chars().take(MESSAGE_CHARS_MAX).collect();
            if text.contains("{{") {
                message
                    .push_str("; goss templates ({{ }}) are not supported: write out what `goss render` makes of it");
            }
            reader.problems.push(GossProblem { file: String::new(), line, column, message });
        }
    }
    if reader.problems.is_empty() {
        return Ok((GossFile { resources: latest(reader.resources) }, reader.includes));
    }
    reader.problems.truncate(PROBLEMS_MAX);
    for problem in &mut reader.problems {
        problem.file = file.to_owned();
    }
    Err(reader.problems)
}

/// As in goss, a later definition of the same thing replaces the earlier one.
pub(super) fn latest(mut resources: Vec<Resource>) -> Vec<Resource> {
    let mut last = HashMap::new();
    for (at, resource) in resources.iter().enumerate() {
        last.insert((resource.kind, resource.id.clone()), at);
    }
    let mut at = 0..;
    resources
        .retain(|resource| last.get(&(resource.kind, resource.id.clone())).copied() == at.next());
    resources
}

#[derive(Default)]
struct Reader {
    resources: Vec<Resource>,
    includes: Vec<Include>,
    problems: Vec<GossProblem>,
}

impl Reader {
    fn file(&mut self, root: &Node) {
        for (key, node) in self.entries(root, "a map of resources") {
            if key.text == "gossfile" {
                self.gossfile(node);
            } else if let Some(schema) = SCHEMAS.iter().find(|schema| schema.word == key.text) {
                for (id, node) in self.entries(node, "a map of resources by name") {
                    self.resource(schema, id, node);
                }
            } else {
                let known: Vec<_> = SCHEMAS.iter().map(|schema| schema.word).collect();
                let message = format!(
                    "there is no resource `{}`; known are {}, gossfile",
                    shown(&key.text),
                    known.join(", ")
                );
                self.problems.push(GossProblem::at_key(key, message));
            }
        }
    }

    fn entries<'a>(&mut self, node: &'a Node, expected: &str) -> Vec<(&'a Key, &'a Node)> {
        match node.value {
            Value::Map(_) => {
                let entry = |part: &'a value::Part| part.key.as_ref().map(|key| (key, &part.node));
                node.parts.iter().filter_map(entry).collect()
            }
            Value::Null => Vec::new(),
            _ => {
                let message = format!("expected {expected}, found {}", node.value.kind());
                self.problems.push(GossProblem::at(node, message));
                Vec::new()
            }
        }
    }

    fn gossfile(&mut self, node: &Node) {
        for (key, node) in self.entries(node, "a map of files to include") {
            let mut include =
                Include { file: key.text.clone(), line: key.line, column: key.column };
            let mut skip = false;
            for (key, node) in self.entries(node, "`file` and `skip`") {
                match (key.text.as_str(), &node.value) {
                    ("file", Value::Text(file)) => include.file.clone_from(file),
                    ("skip", Value::Bool(value)) => skip = *value,
                    ("title" | "meta", _) => {}
                    _ => self
                        .problems
                        .push(GossProblem::at_key(key, "expected `file: text` or `skip: true`")),
                }
            }
            if !skip {
                self.includes.push(include);
            }
        }
    }

    fn resource(&mut self, schema: &'static Schema, id: &Key, node: &Node) {
        let mut resource = Resource {
            kind: schema.kind,
            id: id.text.clone(),
            skip: false,
            attributes: BTreeMap::new(),
            options: BTreeMap::new(),
        };
        for (key, node) in self.entries(node, "a map of attributes") {
            self.attribute(schema, &mut resource, key, node);
        }
        if let Some(other) = resource.text(schema.id) {
            resource.id = other;
        }
        self.check(schema, &resource, id);
        self.resources.push(resource);
    }

    fn attribute(&mut self, schema: &Schema, resource: &mut Resource, key: &Key, node: &Node) {
        let name = match (schema.kind, key.text.as_str()) {
            (Kind::File, "contains") => "contents",
            (_, name) => name,
        };
        let find = |names: &'static [&'static str]| names.iter().find(|known| **known == name);
        if name == "skip" {
            match node.value {
                Value::Bool(skip) => resource.skip = skip,
                _ => self.problems.push(GossProblem::at(node, "expected true or false")),
            }
        } else if let Some(attribute) = find(schema.attributes) {
            match Matcher::parse(&normalised(attribute, node), schema.lines.contains(attribute)) {
                Ok(matcher) => drop(resource.attributes.insert(attribute, matcher)),
                Err(problem) => self.problems.push(problem),
            }
        } else if let Some(option) = find(schema.options) {
            self.option(option, node);
            resource.options.insert(option, node.clone());
        } else if let Some((_, why)) = schema.unsupported.iter().find(|(known, _)| *known == name) {
            let message = format!("`{name}` is not supported: {why}");
            self.problems.push(GossProblem::at_key(key, message));
        } else if !COMMON.contains(&name) {
            let known = [schema.attributes, schema.options, &["skip"]].concat().join(", ");
            let message =
                format!("{} has no attribute `{}`; known are {known}", schema.word, shown(name));
            self.problems.push(GossProblem::at_key(key, message));
        }
    }

    /// An option must have a value of its kind, so that none is ignored later.
    fn option(&mut self, name: &str, node: &Node) {
        let good = match (name, &node.value) {
            ("timeout", Value::Number(ms)) => *ms >= 0.0 && *ms <= 86_400_000.0,
            ("allow-insecure" | "no-follow-redirects", Value::Bool(_)) => true,
            ("request-headers", Value::List(values)) => {
                values.iter().all(|value| value.scalar_text().is_some())
            }
            ("content", _) => true,
            ("timeout" | "allow-insecure" | "no-follow-redirects" | "request-headers", _) => false,
            (_, value) => value.scalar_text().is_some(),
        };
        let expected = match name {
            "timeout" => "a time in milliseconds, at most a day",
            "allow-insecure" | "no-follow-redirects" => "true or false",
            "request-headers" => "a list of texts",
            _ => "text",
        };
        if !good {
            let message = format!("expected {expected}, found {}", node.value.kind());
            self.problems.push(GossProblem::at(node, message));
        }
    }

    /// What only the whole resource shows.
    fn check(&mut self, schema: &Schema, resource: &Resource, key: &Key) {
        let mut refuse = |message: &str| self.problems.push(GossProblem::at_key(key, message));
        if resource.attributes.is_empty() && !resource.skip {
            refuse(&format!("expected at least one of {}", schema.attributes.join(", ")));
        }
        match schema.kind {
            Kind::Port if super::network::parse_port(&resource.id).is_none() => {
                refuse("expected a port such as tcp:22, tcp6:80 or udp:53");
            }
            Kind::Addr if super::network::parse_addr(&resource.id).is_none() => {
                refuse("expected an address such as tcp://host:80");
            }
            Kind::Http => {
                if let Err(problem) = crate::check::http::url::Url::parse(&resource.id) {
                    refuse(&format!("expected a URL, this is {problem}"));
                }
            }
            Kind::KernelParam if !super::kernel::is_parameter_name(&resource.id) => {
                refuse("expected the name of a kernel parameter such as net.core.somaxconn");
            }
            Kind::Dns if super::network::is_record_query(&resource.id) => {
                refuse("queries for one record type need a name server, which is not supported");
            }
            _ => {}
        }
    }
}

/// A mode is four octal digits, however it is written.
fn normalised(attribute: &str, node: &Node) -> Node {
    let text = match (attribute, &node.value) {
        ("mode", Value::Text(text)) => Some(text.clone()),
        ("mode", Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let text = text.map(|text| text.trim_start_matches("0o").to_owned());
    let mode = text.and_then(|text| u32::from_str_radix(&text, 8).ok());
    match mode {
        Some(mode) => Node { value: Value::Text(format!("{mode:04o}")), ..node.clone() },
        None => node.clone(),
    }
}

fn shown(text: &str) -> String {
    escape(text.as_bytes()).to_string().chars().take(60).collect()
}
