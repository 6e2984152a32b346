//! A bounded walk over XML that a shadow wrote: no entities of its own, no deep nesting.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 64;

/// One piece of a document.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    Open { name: String, attributes: Vec<(String, String)> },
    Close { name: String },
    Text(String),
}

impl Item {
    /// The name of an opening tag.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Open { name, .. } => Some(name),
            Self::Close { .. } | Self::Text(_) => None,
        }
    }

    /// The value of an attribute of an opening tag.
    pub(crate) fn attribute(&self, wanted: &str) -> Option<&str> {
        let Self::Open { attributes, .. } = self else { return None };
        attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }
}

/// A document that is no acceptable XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read XML at byte {offset}: {detail}")]
pub struct XmlError {
    offset: u64,
    detail: String,
}

/// Walks a document; names are without their namespace prefix.
pub(crate) struct Walk<'a> {
    reader: Reader<&'a [u8]>,
    open: Vec<String>,
    pending_close: Option<String>,
    root_seen: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(bytes).map_err(|error| XmlError {
            offset: error.valid_up_to() as u64,
            detail: "it is no UTF-8".to_owned(),
        })?;
        let reader = Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        Ok(Self { reader, open: Vec::new(), pending_close: None, root_seen: false })
    }

    /// The next piece; `None` at the end of a complete document.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, XmlError> {
        if let Some(name) = self.pending_close.take() {
            self.open.pop();
            return Ok(Some(Item::Close { name }));
        }
        loop {
            let event = self.reader.read_event().map_err(|error| self.refuse(error))?;
            let item = match event {
                Event::Start(tag) => self.open_tag(&tag)?,
                Event::Empty(tag) => {
                    let item = self.open_tag(&tag)?;
                    self.pending_close = self.open.last().cloned();
                    item
                }
                Event::End(_) => match self.open.pop() {
                    Some(name) => Item::Close { name },
                    None => return Err(self.refuse("an end without a beginning")),
                },
                Event::Text(text) => Item::Text(lossy(&text)),
                Event::CData(text) => Item::Text(lossy(&text)),
                Event::GeneralRef(reference) => {
                    let raw = format!("&{};", lossy(&reference));
                    Item::Text(unescape(&raw).map_err(|error| self.refuse(error))?.into_owned())
                }
                Event::Eof if self.open.is_empty() && self.root_seen => return Ok(None),
                Event::Eof => return Err(self.refuse("it ends too early")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            };
            return Ok(Some(item));
        }
    }

    fn open_tag(&mut self, tag: &BytesStart<'_>) -> Result<Item, XmlError> {
        if self.open.is_empty() && self.root_seen {
            return Err(self.refuse("it has a second root element"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(self.refuse(format!("it is nested deeper than {DEPTH_MAX}")));
        }
        self.root_seen = true;
        let name = lossy(tag.local_name().as_ref());
        let mut attributes = Vec::new();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.refuse(error))?;
            let value = lossy(&attribute.value);
            let value = unescape(&value).map_err(|error| self.refuse(error))?;
            attributes.push((lossy(attribute.key.local_name().as_ref()), value.into_owned()));
            if attributes.len() > ATTRIBUTES_MAX {
                return Err(self.refuse(format!("a tag has more than {ATTRIBUTES_MAX} attributes")));
            }
        }
        self.open.push(name.clone());
        Ok(Item::Open { name, attributes })
    }

    fn refuse(&self, detail: impl ToString) -> XmlError {
        let detail = umbra_state::escape::escape(detail.to_string().as_bytes()).to_string();
        XmlError { offset: self.reader.buffer_position(), detail }
    }

    /// An error at the present place, for what is XML but not the expected document.
    pub(crate) fn unexpected(&self, detail: impl ToString) -> XmlError {
        self.refuse(detail)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Result<Vec<Item>, XmlError> {
        let mut walk = Walk::new(text.as_bytes())?;
        let mut items = Vec::new();
        while let Some(item) = walk.next()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn tags_texts_and_references() {
        let items = all("<?xml version='1.0'?><n:a x='1 &lt; 2'>t&amp;<![CDATA[<u>]]><b/></n:a>");
        let items = items.expect("well formed");
        assert_eq!(items[0].attribute("x"), Some("1 < 2"));
        let texts: String = items
            .iter()
            .filter_map(|item| if let Item::Text(text) = item { Some(&**text) } else { None })
            .collect();
        assert_eq!(texts, "t&<u>");
        assert_eq!(items.last(), Some(&Item::Close { name: "a".into() }));
        assert_eq!(items.len(), 7);
    }

    #[test]
    fn what_is_no_xml_is_refused_with_its_place() {
        for text in ["", "<a>", "<a></b>", "<a/><b/>", "<a>&own;</a>", "</a>", "<a x=></a>"] {
            let error = all(text).expect_err(text);
            assert!(error.to_string().starts_with("read XML at byte"), "{error}");
        }
        assert!(all(&"<a>".repeat(100)).is_err());
    }

    #[test]
    fn own_entities_are_never_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        assert!(all(bomb).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(<|>|/|a|b|=|'|&|;|!|\\[|\\]|-|\\?| |#|x){0,60}") {
            let items = all(&text).map(|items| items.len()).unwrap_or(0);
            prop_assert!(items <= 2 * text.len());
        }
    }
}
