//! The JSON Schema (draft 7, which editors know best) of recipe files, made from the shapes.

use serde_json::{Value as Json, json};
use umbra_document::schema::Schema;

use crate::shapes::{DERIVED, RECIPE};

/// The schema's file name beside a recipe; recipes made by `umbra init` refer to it, so
/// whoever writes such a recipe writes [`schema`] there too. An editor then needs no network.
pub const SCHEMA_FILE: &str = "umbra.schema.json";

/// A schema that accepts exactly the files whose form the parser accepts. What no schema can
/// say (that a named step exists, that a pattern compiles) is left to the parser.
pub fn schema() -> Json {
    let mut schema = Schema::with_references(REFERENCE);
    let recipe = schema.object(&RECIPE);
    let derived = schema.object(&DERIVED);
    let root = json!({
        "description": RECIPE.doc,
        "if": { "type": "object", "required": ["extends"] },
        "then": derived,
        "else": recipe,
    });
    schema.published(root, "urn:umbra:recipe:1", "umbra recipe")
}

/// What begins a reference to a variable.
const REFERENCE: &str = r"\$\{\{";

#[cfg(test)]
mod tests {
    use umbra_document::laws;

    use super::*;

    #[test]
    fn nouns_name_shapes_uniquely() {
        assert!(laws::nouns_are_unique(&[&RECIPE, &DERIVED]) > 15);
    }

    /// `UMBRA_BLESS=1` writes the file anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/umbra.schema.json");
        laws::is_published(path.as_ref(), &schema());
    }
}
