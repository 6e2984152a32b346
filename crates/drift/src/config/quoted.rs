//! Text as a scalar of YAML, whatever is in it.

/// The text in double quotes. JSON is YAML, but for characters that YAML wants escaped; those
/// that reorder or hide what stands beside them are, too.
pub(crate) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let written = |c: char| match c {
        '\u{7f}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{fffe}'
        | '\u{ffff}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    json.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use umbra_document::{Found, yaml};

    use super::quoted;

    proptest! {
        #[test]
        fn every_text_is_read_as_it_was(text in "[\\PC\u{0}-\u{1f}\u{7f}-\u{a0}\u{2028}\u{feff}\u{ffff}\"'\\\\#]{0,20}") {
            let document = format!("a: {}  # b\n", quoted(&text));
            let mut found = Found::default();
            let root = yaml::parse(0, &document, "document", &mut found).expect("YAML");
            prop_assert!(!found.has_errors());
            prop_assert_eq!(root.get("a").and_then(|node| node.text()), Some(text.as_str()));
        }
    }
}
