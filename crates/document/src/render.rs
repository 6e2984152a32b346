//! Problems as a person reads them: the line, a mark below it, and what was expected.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use umbra_state::escape::escape;

use crate::diagnostic::{Diagnostic, Label, Problems, Severity};

impl Problems {
    /// All of them as text that ends with a newline; `coloured` adds terminal colours, and
    /// nothing is said by colour alone.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&renderer.render(&[group(diagnostic)]));
            text.push_str("\n\n");
        }
        if self.more > 0 {
            text.push_str(&format!("and {} more\n", self.more));
        }
        text
    }
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    for (index, label) in diagnostic.labels.iter().enumerate() {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        group = add_label(group, label, kind);
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

fn add_label<'a>(group: Group<'a>, label: &'a Label, kind: AnnotationKind) -> Group<'a> {
    let start = byte_of(&label.excerpt, label.column.saturating_sub(label.excerpt_column));
    let end = start + byte_of(&label.excerpt[start..], label.length);
    let text = (!label.text.is_empty()).then_some(label.text.as_str());
    let snippet = Snippet::source(label.excerpt.as_str())
        .line_start(label.line)
        .annotation(kind.span(start..end).label(text));
    let file = escape(label.file.as_bytes()).to_string();
    if label.excerpt_column == 1 {
        return group.element(snippet.path(file));
    }
    // The renderer counts columns in what it is shown, so a cut line states its own.
    let place = format!("at {file}:{}:{}, line cut", label.line, label.column);
    group.element(snippet).element(Level::NOTE.message(place))
}

/// The byte at which the character number `chars` begins, or the end.
fn byte_of(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(index, _)| index)
}
