//! YAML as a tree in which every value knows where it was written.
//!
//! Deserializers stop at the first mistake; a tree can be walked to the end, so that all
//! problems of a file are found in one pass. What YAML can do beyond plain data (tags, merge
//! keys, several documents) is refused, and aliases are expanded within a budget.

use std::collections::HashMap;

use serde_saphyr::granit_parser as granit;

use granit::{Event, Options, Parser, ScalarStyle};

use crate::diagnostic::{Found, Problem};
use crate::source::Span;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it holds.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// One text.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Values by key, in the order of the text, no key twice.
    Map(Vec<(Key, Node)>),
}

/// A text, or what YAML makes of it.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// What is written, quotes and escapes resolved.
    pub text: String,
    /// Written without quotes, so that `true` and `12` are no texts.
    pub plain: bool,
    /// Came in part from a variable: then its type is what is needed at its place.
    pub substituted: bool,
    /// Holds a reference that could not be replaced: what it would be is unknown.
    pub unresolved: bool,
}

/// The name of a value in a mapping.
#[derive(Debug, Clone)]
pub struct Key {
    /// What is written, quotes and escapes resolved.
    pub text: String,
    /// Where the key itself stands.
    pub span: Span,
}

impl Node {
    /// The scalar, if this is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entries, if this is a list.
    pub fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// The entries, if this is a mapping.
    pub fn map(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map().iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// Where the key itself stands.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        self.map().iter().find(|(known, _)| known.text == key).map(|(known, _)| known.span)
    }

    /// The text of a scalar, if it is known.
    pub fn text(&self) -> Option<&str> {
        self.scalar().filter(|scalar| !scalar.unresolved).map(|scalar| scalar.text.as_str())
    }

    /// The part to mark when the whole is meant: a first key, not a page of lines.
    pub fn head(&self) -> Span {
        match &self.value {
            Value::Map(entries) => entries.first().map_or(self.span, |(key, _)| key.span),
            Value::List(items) => items.first().map_or(self.span, Node::head),
            Value::Scalar(_) => self.span,
        }
    }
}

const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 50_000;
/// More than any mapping may have whose keys are free.
const KEYS_MAX: usize = 2_000;
/// All scalars together, aliases expanded and variables inserted.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Reads one document of a sort called `noun`, with no article; `None` if there is none or it
/// cannot be read, with the reason in `found`. `file` goes into the spans.
pub fn parse(file: usize, text: &str, noun: &str, found: &mut Found) -> Option<Node> {
    let mut builder = Builder::new(file, noun, found);
    let mut options = Options::default();
    // Nobody asks for them, and the parser keeps only so many in a row.
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let tag = span.tag_span().map(|span| span_of(file, text, &span));
                let span = span_of(file, text, &span);
                if event.tag().is_some() {
                    builder.refuse_tag(tag.unwrap_or(span));
                }
                builder.on(event, span).ok()?;
            }
            Err(error) => {
                builder.found.push(syntax_problem(file, text, &error));
                return None;
            }
        }
    }
    if builder.root.is_none() {
        let span = Span::new(file, 0..0);
        let message = format!("the file holds no {noun}");
        builder.found.push(Problem::new("empty", message, span, "empty"));
    }
    builder.root
}

fn syntax_problem(file: usize, text: &str, error: &granit::ScanError) -> Problem {
    let start = offset_of(text, error.marker());
    let message = format!("this is not YAML: {}", error.info());
    let problem =
        Problem::new("yaml", message, Span::new(file, start..start), "reading stops here");
    let line = text[..start].rsplit('\n').next().unwrap_or("");
    if text[start..].starts_with('\t') || line.contains('\t') {
        return problem.help("YAML is indented with spaces, never with tabs");
    }
    problem
}

fn span_of(file: usize, text: &str, span: &granit::Span) -> Span {
    let (start, end) = (offset_of(text, &span.start), offset_of(text, &span.end));
    let written = text.get(start..end).unwrap_or("").trim_end();
    Span::new(file, start..start + written.len())
}

fn offset_of(text: &str, marker: &granit::Marker) -> usize {
    let by_char = || text.char_indices().nth(marker.index()).map_or(text.len(), |(at, _)| at);
    let mut offset = marker.byte_offset().unwrap_or_else(by_char).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

struct Builder<'f> {
    file: usize,
    /// What the document is, without an article.
    noun: &'f str,
    found: &'f mut Found,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    size: Size,
    documents: usize,
    root: Option<Node>,
}

/// A collection that is still open.
struct Frame {
    span: Span,
    anchor: usize,
    value: Value,
    /// The key whose value comes next; only in mappings.
    key: Option<Pending>,
}

/// A key, or `None` for something that is no word, whose value is passed over.
type Pending = Option<Key>;

/// What a tree costs.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text_bytes: usize,
    depth: usize,
}

/// Nothing after this can be trusted or afforded; the problem is already recorded.
struct Stop;

impl<'f> Builder<'f> {
    fn new(file: usize, noun: &'f str, found: &'f mut Found) -> Self {
        let (stack, anchors) = (Vec::new(), HashMap::new());
        let size = Size::default();
        Self { file, noun, found, stack, anchors, size, documents: 0, root: None }
    }

    fn on(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) => self.document_start(span),
            Event::Scalar(text, style, anchor, _) => {
                let (text, plain) = (text.into_owned(), style == ScalarStyle::Plain);
                let scalar = Scalar { text, plain, substituted: false, unresolved: false };
                self.complete(Node { span, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(span, anchor, Value::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.open(span, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn document_start(&mut self, span: Span) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = format!("a {} is one YAML document, and here a second one begins", self.noun);
        self.found.push(Problem::new("yaml", message, span, "second document"));
        Err(Stop)
    }

    fn refuse_tag(&mut self, span: Span) {
        let message = format!("YAML tags mean nothing in a {}", self.noun);
        self.found.push(Problem::new("yaml", message, span, "leave this out"));
    }

    fn open(&mut self, span: Span, anchor: usize, value: Value) -> Result<(), Stop> {
        self.spend(Size { depth: 1, ..Size::default() }, span)?;
        self.stack.push(Frame { span, anchor, value, key: None });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let span = Span::new(self.file, frame.span.start..end.end.max(frame.span.end));
        self.complete(Node { span, value: frame.value }, frame.anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&id) else {
            let message = "an alias refers to the value it stands in";
            self.found.push(Problem::new("yaml", message, span, "this never ends"));
            return Err(Stop);
        };
        self.spend(measure(node), span)?;
        let node = self.anchors[&id].clone();
        self.attach(node)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        let text_bytes = node.text().map_or(0, str::len);
        self.spend(Size { nodes: 1, text_bytes, depth: 0 }, node.span)?;
        if anchor != 0 {
            // The kept copy counts like an alias: nested anchors would multiply unseen.
            self.spend(Size { depth: 0, ..measure(&node) }, node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node)
    }

    fn spend(&mut self, cost: Size, span: Span) -> Result<(), Stop> {
        self.size.nodes = self.size.nodes.saturating_add(cost.nodes);
        self.size.text_bytes = self.size.text_bytes.saturating_add(cost.text_bytes);
        let limit = if self.stack.len() + cost.depth > DEPTH_MAX {
            format!("values are nested deeper than {DEPTH_MAX} levels")
        } else if self.size.nodes > NODES_MAX {
            format!(
                "the {} has more than {NODES_MAX} values, aliases counted as often as used",
                self.noun
            )
        } else if self.size.text_bytes > TEXT_BYTES_MAX {
            format!(
                "the {}'s texts exceed {TEXT_BYTES_MAX} bytes, aliases counted as often as used",
                self.noun
            )
        } else {
            return Ok(());
        };
        self.found.push(Problem::new("limit", limit, span, "reading stops here"));
        Err(Stop)
    }

    fn attach(&mut self, node: Node) -> Result<(), Stop> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match frame.key.take() {
                None => frame.key = Some(key_of(node, self.found)),
                Some(Some(key)) if entries.len() >= KEYS_MAX => {
                    let message = format!("a mapping has more than {KEYS_MAX} keys");
                    let problem = Problem::new("limit", message, key.span, "reading stops here");
                    self.found.push(problem);
                    return Err(Stop);
                }
                Some(Some(key)) => add_entry(entries, key, node, self.found),
                Some(None) => {}
            },
            Value::Scalar(_) => {}
        }
        Ok(())
    }
}

fn key_of(node: Node, found: &mut Found) -> Pending {
    let span = node.span;
    match node.value {
        Value::Scalar(scalar) => Some(Key { text: scalar.text, span }),
        Value::List(_) | Value::Map(_) => {
            let message = "a key is a word, not a list or a mapping";
            found.push(Problem::new("yaml", message, span, "not a word"));
            None
        }
    }
}

fn add_entry(entries: &mut Vec<(Key, Node)>, key: Key, node: Node, found: &mut Found) {
    if let Some((first, _)) = entries.iter().find(|(known, _)| known.text == key.text) {
        let shown = umbra_state::escape::escape(key.text.as_bytes());
        let message = format!("the key `{shown}` appears twice in one mapping");
        let problem = Problem::new("duplicate-key", message, key.span, "the second one");
        found.push(problem.also(first.span, "the first one"));
        return;
    }
    entries.push((key, node));
}

fn measure(node: &Node) -> Size {
    let children: Box<dyn Iterator<Item = &Node>> = match &node.value {
        Value::Scalar(scalar) => {
            return Size { nodes: 1, text_bytes: scalar.text.len(), depth: 0 };
        }
        Value::List(items) => Box::new(items.iter()),
        Value::Map(entries) => Box::new(entries.iter().map(|(_, node)| node)),
    };
    let keys = node.map().iter().map(|(key, _)| key.text.len()).sum();
    children.map(measure).fold(Size { nodes: 1, text_bytes: keys, depth: 1 }, |sum, child| Size {
        nodes: sum.nodes.saturating_add(child.nodes),
        text_bytes: sum.text_bytes.saturating_add(child.text_bytes),
        depth: sum.depth.max(child.depth + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_may_be_as_long_as_they_like() {
        let text = format!("a:\n{}  - b\n", "  # c\n".repeat(1_000));
        let mut found = Found::default();
        let root = parse(0, &text, "document", &mut found).expect("YAML");
        assert!(!found.has_errors());
        assert_eq!(root.get("a").map(|list| list.list().len()), Some(1));
    }
}
