//! The JSON Schema of drift configurations.

use serde_json::Value as Json;
use umbra_document::schema::Schema;

use super::shapes::{FILE, ROOT};

/// A schema that accepts exactly the files whose form the parser accepts. What no schema can
/// say (which keys go with which source, that names differ) is left to the parser.
pub fn schema() -> Json {
    let mut schema = Schema::default();
    let mut root = schema.value(&ROOT);
    root["description"] = FILE.doc.into();
    schema.published(root, "urn:umbra:monitoring:1", "umbra drift configuration")
}

#[cfg(test)]
mod tests {
    use umbra_document::laws;

    use super::*;

    #[test]
    fn nouns_name_shapes_uniquely() {
        assert!(laws::nouns_are_unique(&[&FILE]) > 10);
    }

    /// `UMBRA_BLESS=1` writes the file anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring.schema.json");
        laws::is_published(path.as_ref(), &schema());
    }
}
