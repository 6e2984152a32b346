//! XML as Wazuh writes it: elements with their lines, several of them side by side.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::super::ImportError;
use super::super::draft::shown;

const DEPTH_MAX: usize = 32;
const ELEMENTS_MAX: usize = 20_000;
const ATTRIBUTES_MAX: usize = 64;

/// An element.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// In their order.
    pub(super) attributes: Vec<(String, String)>,
    /// All text in it that is no child's, no space around it.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The value of an attribute.
    pub(super) fn attribute(&self, wanted: &str) -> Option<&str> {
        let named = self.attributes.iter().find(|(name, _)| name == wanted);
        named.map(|(_, value)| value.as_str())
    }
}

/// The outermost elements of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Element>, ImportError> {
    let mut reader = Reader::from_str(text);
    // Commands with `&&` in them stand beside what is read here.
    reader.config_mut().allow_dangling_amp = true;
    let mut walk = Walk { text, counted: 0, lines: 1, elements: 0, open: vec![Element::default()] };
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(text.len());
        let event = reader.read_event().map_err(|error| {
            let at = usize::try_from(reader.error_position()).unwrap_or(text.len());
            walk.malformed(at, &error.to_string())
        })?;
        match event {
            Event::Start(tag) => walk.begin(at, &tag)?,
            Event::Empty(tag) => {
                walk.begin(at, &tag)?;
                walk.end();
            }
            Event::End(_) => walk.end(),
            Event::Text(piece) => walk.push(&String::from_utf8_lossy(&piece)),
            Event::CData(piece) => walk.push(&String::from_utf8_lossy(&piece)),
            Event::GeneralRef(reference) => {
                let raw = format!("&{};", String::from_utf8_lossy(&reference));
                // Of its own there are none.
                let known = unescape(&raw).map(|known| known.into_owned());
                walk.push(&known.unwrap_or(raw));
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if walk.open.len() > 1 {
        return Err(walk.malformed(text.len(), "an element is not closed"));
    }
    Ok(walk.open.pop().map(|root| root.children).unwrap_or_default())
}

struct Walk<'a> {
    text: &'a str,
    /// How far lines have been counted, and how many.
    counted: usize,
    lines: usize,
    elements: usize,
    /// The innermost last; the first one holds the outermost.
    open: Vec<Element>,
}

impl Walk<'_> {
    /// The line of a byte that is not before the last one asked for.
    fn line(&mut self, at: usize) -> usize {
        let at = at.min(self.text.len());
        let between = self.text.as_bytes().get(self.counted..at).unwrap_or_default();
        self.lines += between.iter().filter(|byte| **byte == b'\n').count();
        self.counted = at.max(self.counted);
        self.lines
    }

    fn malformed(&mut self, at: usize, why: &str) -> ImportError {
        ImportError::Malformed { line: self.line(at), why: shown(why) }
    }

    fn begin(&mut self, at: usize, tag: &BytesStart<'_>) -> Result<(), ImportError> {
        self.elements += 1;
        if self.open.len() > DEPTH_MAX || self.elements > ELEMENTS_MAX {
            let most = format!("more than {ELEMENTS_MAX} elements, or deeper than {DEPTH_MAX}");
            return Err(self.malformed(at, &most));
        }
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| self.malformed(at, &error.to_string()))?;
            let value = plain(&attribute.value);
            let value = unescape(&value).map(|known| known.into_owned()).unwrap_or(value);
            attributes.push((plain(attribute.key.as_ref()), value));
            if attributes.len() > ATTRIBUTES_MAX {
                let most = format!("more than {ATTRIBUTES_MAX} attributes");
                return Err(self.malformed(at, &most));
            }
        }
        let (name, line) = (plain(tag.name().as_ref()), self.line(at));
        self.open.push(Element { name, line, attributes, ..Element::default() });
        Ok(())
    }

    fn end(&mut self) {
        let Some(mut element) = self.open.pop() else { return };
        element.text = element.text.trim().to_owned();
        // The reader refuses an end without a beginning.
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(element);
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(innermost) = self.open.last_mut() {
            innermost.text.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_lines_and_text() {
        let text = "<!-- a\n-->\n<a x=\"1 &lt; 2\">\n t&amp;u && <b/>v<![CDATA[<w>]]> </a>\n<c/>";
        let elements = parse(text).expect("XML");
        let [a, c] = &elements[..] else { panic!("{elements:?}") };
        assert_eq!((a.name.as_str(), a.line, a.attribute("x")), ("a", 3, Some("1 < 2")));
        assert_eq!(a.text, "t&u && v<w>");
        assert_eq!((a.children[0].name.as_str(), a.children[0].line), ("b", 4));
        assert_eq!((c.name.as_str(), c.line), ("c", 5));
        assert!(parse("").expect("nothing").is_empty());
    }

    #[test]
    fn what_is_no_xml_is_refused_with_its_line() {
        for (text, at) in [
            ("<a>\n", 2),
            ("<a>\n</b>", 2),
            ("</a>", 1),
            ("<a x=></a>", 1),
            ("\n<a x='1' x='2'/>", 2),
        ] {
            match parse(text) {
                Err(ImportError::Malformed { line, .. }) => assert_eq!(line, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(parse(&"<a>".repeat(100)).is_err());
        assert!(parse(&"<a/>".repeat(ELEMENTS_MAX + 1)).is_err());
    }

    #[test]
    fn own_entities_are_never_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>";
        assert_eq!(parse(bomb).expect("XML")[0].text, "&b;");
    }
}
