//! The structural check: a tree held against the shapes, every mismatch recorded.

use umbra_state::escape::escape;

use crate::diagnostic::{Found, Problem};
use crate::formats::{self, Format};
use crate::scalar::ScalarType;
use crate::shape::{Field, Shape, Ty, Word, or_list};
use crate::source::Span;
use crate::suggest::{advice, nearest};
use crate::take::number;
use crate::yaml::{Node, Scalar, Value};

/// Records everything about `node` that is not as `shape` says.
pub fn check(node: &Node, shape: &'static Shape, found: &mut Found) {
    Checker { found, path: String::new() }.object(node, shape);
}

/// Records everything about `node` that is not as `ty` says.
pub fn check_value(node: &Node, ty: &'static Ty, found: &mut Found) {
    Checker { found, path: String::new() }.value(node, ty);
}

struct Checker<'f> {
    found: &'f mut Found,
    /// Where in the document, such as `steps[2].copy`.
    path: String,
}

impl Checker<'_> {
    fn value(&mut self, node: &Node, ty: &'static Ty) {
        match (ty, &node.value) {
            (Ty::Foreign | Ty::Elsewhere(_), _) => {}
            (Ty::Either(types), _) => match meant(types, node) {
                Some(ty) => self.value(node, ty),
                None => self.wrong_type(node, ty),
            },
            (Ty::Object(shape), _) => self.object(node, shape),
            (Ty::List { item, min, max }, Value::List(items)) => {
                self.count(items.len(), (*min, *max), node, "entries");
                for (index, item_node) in items.iter().enumerate() {
                    self.below(&format!("[{index}]"), |checker| checker.value(item_node, item));
                }
            }
            (Ty::MapOf { key, value, max }, Value::Map(_)) => self.map(node, key, value, *max),
            (_, Value::Scalar(scalar)) => self.scalar(node, scalar, ty),
            _ => self.wrong_type(node, ty),
        }
    }

    fn object(&mut self, node: &Node, shape: &'static Shape) {
        let Value::Map(entries) = &node.value else {
            let expected = format!("expected a mapping that describes the {}", shape.noun);
            return self.report("wrong-type", expected, node.head(), got(node), keys_help(shape));
        };
        let meant = meant_keys(node, shape);
        let given = |key: &str| node.get(key).is_some() || meant.contains(&key);
        for (key, value) in entries {
            match shape.fields.iter().find(|field| field.key == key.text) {
                Some(field) => {
                    self.companions(field, &given, key.span);
                    self.below(&dotted(&self.path, field.key), |c| c.value(value, &field.ty));
                }
                None => self.unknown_key(node, &key.text, key.span, shape),
            }
        }
        self.missing(node, shape, &given);
        self.exactly_one(node, shape, &given);
    }

    fn map(&mut self, node: &Node, form: &'static Format, ty: &'static Ty, max: usize) {
        self.count(node.map().len(), (0, max), node, "keys");
        for (key, value) in node.map() {
            if let Err(reason) = (form.check)(&key.text) {
                let shown = shorten(&key.text);
                let message = format!("expected {}, got `{shown}`: {reason}", form.noun);
                self.report("bad-value", message, key.span, "this key", None);
            }
            let part = dotted(&self.path, &escape(key.text.as_bytes()).to_string());
            self.below(&part, |checker| checker.value(value, ty));
        }
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, ty: &'static Ty) {
        if scalar.unresolved {
            return;
        }
        match ty {
            Ty::Text(format) => self.text(node, scalar, format),
            Ty::Verbatim => {
                if scalar.written_type() == ScalarType::Null {
                    let help = Some("for an empty text write \"\"".to_owned());
                    self.report("wrong-type", "expected a value, got nothing", node.span, "", help);
                }
            }
            Ty::Word(words) => self.word(node, scalar, words),
            Ty::Bool => match scalar.value_type() {
                ScalarType::Bool(_) => {}
                _ => self.wrong_scalar(node, scalar, ty),
            },
            Ty::Int { min, max } => match scalar.value_type() {
                ScalarType::Int(value) if (*min..=*max).contains(&value) => {}
                _ => self.wrong_scalar(node, scalar, ty),
            },
            Ty::Amount { max } => match number(scalar) {
                Some(value) if value >= 0.0 && value <= *max => {}
                _ => self.wrong_scalar(node, scalar, ty),
            },
            Ty::Number { above, max } => match number(scalar) {
                Some(value) if value > *above && value <= *max => {}
                _ => self.wrong_scalar(node, scalar, ty),
            },
            _ => self.wrong_type(node, ty),
        }
    }

    fn text(&mut self, node: &Node, scalar: &Scalar, format: &'static Format) {
        let written = scalar.written_type();
        if written != ScalarType::Text {
            return self.no_text(node, scalar, written, format);
        }
        if let Err(reason) = (format.check)(&scalar.text) {
            let shown = shorten(&scalar.text);
            let message = format!("expected {}, got `{shown}`: {reason}", format.noun);
            let help = Some(format!("for example `{}`", format.example));
            self.report("bad-value", message, node.span, "", help);
        }
    }

    /// A number or a truth value where a text belongs: YAML turns `0644` into 644.
    fn no_text(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        written: ScalarType,
        format: &'static Format,
    ) {
        let message = format!("expected {}, got {}", format.noun, written.noun());
        let shown = shorten(&scalar.text);
        let help = if std::ptr::eq(format, &formats::MODE) && written != ScalarType::Null {
            let padded = if scalar.text.len() == 3 { format!("0{shown}") } else { shown };
            let trap = "without quotes YAML reads a decimal number, not permission bits";
            return self.report("mode-number", message, node.span, trap, quoted_help(&padded));
        } else if written == ScalarType::Null {
            Some(format!("for example `{}`", format.example))
        } else if (format.check)(&scalar.text).is_ok() {
            quoted_help(&shown)
        } else {
            (format.check)(&scalar.text).err()
        };
        self.report("wrong-type", message, node.span, "", help);
    }

    fn word(&mut self, node: &Node, scalar: &Scalar, words: &'static [Word]) {
        let text = &scalar.text;
        match words.iter().find(|word| word.word == text && written_as_text(scalar)) {
            Some(word) if word.available => {}
            Some(_) => {
                let message = format!("`{text}` is not available in this version");
                self.report("not-available", message, node.span, "", words_help(words));
            }
            None => {
                let message = format!("expected {}, got `{}`", any_of(words), shorten(text));
                let known = words.iter().map(|word| word.word);
                let help = nearest(text, known).map(|word| format!("did you mean `{word}`?"));
                self.report("bad-value", message, node.span, "", help);
            }
        }
    }

    fn wrong_scalar(&mut self, node: &Node, scalar: &Scalar, ty: &'static Ty) {
        let message = format!("expected {}, got `{}`", ty.noun(), shorten(&scalar.text));
        let quoted = scalar.written_type() == ScalarType::Text && !scalar.plain;
        let help = quoted.then(|| "leave the quotes out".to_owned());
        self.report("bad-value", message, node.span, "", help);
    }

    fn wrong_type(&mut self, node: &Node, ty: &'static Ty) {
        let message = format!("expected {}", ty.noun());
        self.report("wrong-type", message, node.head(), got(node), None);
    }

    fn count(&mut self, count: usize, (min, max): (usize, usize), node: &Node, what: &str) {
        if count < min {
            let message = "expected a list with at least one entry";
            self.report("bad-value", message, node.head(), "here is none", None);
        } else if count > max {
            let message = format!("{count} {what} are too many: at most {max} are allowed");
            self.report("limit", message, node.head(), "", None);
        }
    }

    fn unknown_key(&mut self, node: &Node, key: &str, span: Span, shape: &'static Shape) {
        let message = format!("the {} has no key `{}`", shape.noun, shorten(key));
        let help = advice(key, &free_keys(node, shape));
        self.report("unknown-key", message, span, "unknown key", help);
    }

    fn missing(&mut self, node: &Node, shape: &'static Shape, given: &dyn Fn(&str) -> bool) {
        let missing = |field: &&Field| field.required && !given(field.key);
        for field in shape.fields.iter().filter(missing) {
            let message = format!("the {} lacks `{}`", shape.noun, field.key);
            let help = Some(format!("{}: {}", field.key, field.doc));
            let beside = format!("this {} has no `{}`", shape.noun, field.key);
            self.report("missing-key", message, node.head(), beside, help);
        }
    }

    fn exactly_one(&mut self, node: &Node, shape: &'static Shape, given: &dyn Fn(&str) -> bool) {
        let spans: Vec<Span> =
            shape.exactly_one.iter().filter_map(|key| node.key_span(key)).collect();
        let keys: Vec<String> = shape.exactly_one.iter().map(|key| format!("`{key}`")).collect();
        let none_given = !shape.exactly_one.iter().any(|key| given(key));
        match spans.as_slice() {
            [] if !keys.is_empty() && none_given => {
                let message = format!("the {} needs one of {}", shape.noun, or_list(&keys));
                self.report("one-of", message, node.head(), "none of them is here", None);
            }
            [first, second, ..] => {
                let message = format!("the {} can have only one of {}", shape.noun, or_list(&keys));
                let problem =
                    Problem::new("one-of", message, *second, "a second one").at(&self.path);
                self.found.push(problem.also(*first, "the first one"));
            }
            _ => {}
        }
    }

    /// Keys that only make sense beside others.
    fn companions(&mut self, field: &'static Field, given: &dyn Fn(&str) -> bool, span: Span) {
        if field.with.is_empty() || field.with.iter().any(|key| given(key)) {
            return;
        }
        let beside: Vec<String> = field.with.iter().map(|key| format!("`{key}`")).collect();
        let message = format!("`{}` is only allowed beside {}", field.key, or_list(&beside));
        self.report("not-allowed-here", message, span, "it would have no effect", None);
    }

    fn below(&mut self, part: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(part);
        check(self);
        self.path.truncate(length);
    }

    fn report(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        beside: impl Into<String>,
        help: Option<String>,
    ) {
        let problem = Problem::new(code, message, span, beside).at(&self.path);
        self.found.push(problem.help_if(help));
    }
}

/// Keys that could still be given.
fn free_keys(node: &Node, shape: &'static Shape) -> Vec<&'static str> {
    let keys = shape.fields.iter().map(|field| field.key);
    keys.filter(|known| node.get(known).is_none()).collect()
}

/// Keys that unknown ones are misspellings of: to report them as missing, too, would be
/// two complaints about one slip.
fn meant_keys(node: &Node, shape: &'static Shape) -> Vec<&'static str> {
    let free = free_keys(node, shape);
    let known = |key: &str| shape.fields.iter().any(|field| field.key == key);
    let unknown = node.map().iter().filter(|(key, _)| !known(&key.text));
    unknown.filter_map(|(key, _)| nearest(&key.text, free.iter().copied())).collect()
}

fn dotted(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!(".{key}") }
}

/// Whether a value is written in the manner of this type: scalar, list or mapping.
fn fits(ty: &Ty, node: &Node) -> bool {
    match ty {
        Ty::List { .. } => matches!(node.value, Value::List(_)),
        Ty::MapOf { .. } | Ty::Object(_) => matches!(node.value, Value::Map(_)),
        Ty::Either(types) => types.iter().any(|ty| fits(ty, node)),
        Ty::Foreign | Ty::Elsewhere(_) => true,
        _ => matches!(node.value, Value::Scalar(_)),
    }
}

/// Which of several types a value is meant to be: of those it fits, the first that calls for
/// a text where a text is written, and for no text where none is.
fn meant(types: &'static [Ty], node: &Node) -> Option<&'static Ty> {
    let for_text = |ty: &Ty| matches!(ty, Ty::Text(_) | Ty::Word(_) | Ty::Verbatim);
    let written = node.scalar().map(written_as_text);
    let strange = |ty: &&Ty| written.is_some_and(|written| written != for_text(ty));
    types.iter().filter(|ty| fits(ty, node)).min_by_key(strange)
}

fn written_as_text(scalar: &Scalar) -> bool {
    scalar.written_type() == ScalarType::Text
}

fn got(node: &Node) -> &'static str {
    match &node.value {
        Value::Scalar(scalar) => match scalar.written_type() {
            ScalarType::Null => "here is nothing",
            ScalarType::Bool(_) => "here is a truth value",
            ScalarType::Int(_) | ScalarType::Float(_) => "here is a number",
            ScalarType::Text => "here is a text",
        },
        Value::List(_) => "here is a list",
        Value::Map(_) => "here is a mapping",
    }
}

fn any_of(words: &[Word]) -> String {
    let usable = words.iter().filter(|word| word.available);
    or_list(&usable.map(|word| format!("`{}`", word.word)).collect::<Vec<_>>())
}

fn words_help(words: &[Word]) -> Option<String> {
    Some(format!("available are: {}", any_of(words)))
}

fn keys_help(shape: &Shape) -> Option<String> {
    let keys: Vec<String> = shape.fields.iter().map(|field| format!("`{}`", field.key)).collect();
    Some(format!("its keys are {}", keys.join(", ")))
}

fn quoted_help(text: &str) -> Option<String> {
    Some(format!("put it in quotes: \"{text}\""))
}

const SHOWN_CHARS_MAX: usize = 60;

/// Outside text for a message: escaped, on one line, not too long.
pub fn shorten(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", escape(shown.as_bytes()))
}
