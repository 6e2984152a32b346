//! The JSON Schema (draft 7, which editors know best) of recipe files, made from the shapes.

use serde_json::{Map, Value as Json, json};

use crate::formats::Format;
use crate::recipe::sorted;
use crate::shape::{Field, Shape, Ty};
use crate::shapes::{DERIVED, RECIPE};

/// The schema's file name beside a recipe; recipes made by `umbra init` refer to it, so
/// whoever writes such a recipe writes [`schema`] there too. An editor then needs no network.
pub const SCHEMA_FILE: &str = "umbra.schema.json";

/// A schema that accepts exactly the files whose form the parser accepts. What no schema can
/// say (that a named step exists, that a pattern compiles) is left to the parser.
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let recipe = object(&RECIPE, &mut definitions);
    let derived = object(&DERIVED, &mut definitions);
    sorted(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:umbra:recipe:1",
        "title": "umbra recipe",
        "description": RECIPE.doc,
        "if": { "type": "object", "required": ["extends"] },
        "then": derived,
        "else": recipe,
        "definitions": definitions,
    }))
}

type Definitions = Map<String, Json>;

fn object(shape: &Shape, definitions: &mut Definitions) -> Json {
    let mut properties = Map::new();
    for field in shape.fields {
        properties.insert(field.key.to_owned(), property(field, definitions));
    }
    let mut schema = json!({
        "type": "object",
        "description": shape.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> =
        shape.fields.iter().filter(|field| field.required).map(|field| field.key).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !shape.exactly_one.is_empty() {
        schema["oneOf"] =
            shape.exactly_one.iter().map(|key| json!({ "required": [key] })).collect();
    }
    let companions: Map<String, Json> = shape.fields.iter().filter_map(companions).collect();
    if !companions.is_empty() {
        schema["dependencies"] = Json::Object(companions);
    }
    schema
}

fn property(field: &Field, definitions: &mut Definitions) -> Json {
    let mut schema = value(&field.ty, definitions);
    if schema.get("$ref").is_some() {
        // Draft 7 ignores everything beside a reference.
        schema = json!({ "allOf": [schema] });
    }
    schema["description"] = field.doc.into();
    schema
}

/// A key that needs another one beside it.
fn companions(field: &Field) -> Option<(String, Json)> {
    let any: Vec<Json> = field.with.iter().map(|key| json!({ "required": [key] })).collect();
    (!any.is_empty()).then(|| (field.key.to_owned(), json!({ "anyOf": any })))
}

fn value(ty: &Ty, definitions: &mut Definitions) -> Json {
    match ty {
        Ty::Text(format) => text(format),
        Ty::Verbatim => json!({ "type": ["string", "number", "boolean"] }),
        Ty::Bool => or_reference(json!({ "type": "boolean" })),
        Ty::Int { min, max } => {
            or_reference(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Ty::Number { above, max } => {
            or_reference(json!({ "type": "number", "exclusiveMinimum": above, "maximum": max }))
        }
        Ty::Word(words) => {
            let words: Vec<&str> =
                words.iter().filter(|word| word.available).map(|word| word.word).collect();
            or_reference(json!({ "enum": words }))
        }
        Ty::List { item, min, max } => {
            let items = value(item, definitions);
            json!({ "type": "array", "items": items, "minItems": min, "maxItems": max })
        }
        Ty::MapOf { key, value: ty, max } => json!({
            "type": "object",
            "propertyNames": { "pattern": key.pattern },
            "additionalProperties": value(ty, definitions),
            "maxProperties": max,
        }),
        Ty::Object(shape) => reference(shape, definitions),
        Ty::Either(types) => {
            let any: Vec<Json> = types.iter().map(|ty| value(ty, definitions)).collect();
            json!({ "anyOf": any })
        }
        Ty::Elsewhere(ty) => value(ty, definitions),
        Ty::Foreign => json!(true),
    }
}

/// A mapping that stands in one place of the schema and is referred to from others.
fn reference(shape: &Shape, definitions: &mut Definitions) -> Json {
    let name = shape.noun.replace(' ', "-").replace('\'', "");
    if !definitions.contains_key(&name) {
        definitions.insert(name.clone(), Json::Null);
        let schema = object(shape, definitions);
        definitions.insert(name.clone(), schema);
    }
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// A text of a form, or one that gets it from a variable.
fn text(format: &Format) -> Json {
    let pattern = format!("{}|{REFERENCE}", format.pattern);
    json!({ "type": "string", "pattern": pattern, "examples": [format.example] })
}

/// A value that is no text can come from a variable too.
fn or_reference(schema: Json) -> Json {
    json!({ "anyOf": [schema, { "type": "string", "pattern": REFERENCE }] })
}

const REFERENCE: &str = r"\$\{\{";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// Two shapes of one noun would share a definition and one of them be lost.
    #[test]
    fn nouns_name_shapes_uniquely() {
        fn visit(ty: &'static Ty, seen: &mut BTreeMap<&'static str, *const Shape>) {
            match ty {
                Ty::Object(shape) => {
                    let pointer: *const Shape = *shape;
                    match seen.insert(shape.noun, pointer) {
                        Some(before) => assert_eq!(before, pointer, "{}", shape.noun),
                        None => shape.fields.iter().for_each(|field| visit(&field.ty, seen)),
                    }
                }
                Ty::List { item: ty, .. } | Ty::MapOf { value: ty, .. } | Ty::Elsewhere(ty) => {
                    visit(ty, seen);
                }
                Ty::Either(types) => types.iter().for_each(|ty| visit(ty, seen)),
                _ => {}
            }
        }
        let mut seen = BTreeMap::new();
        RECIPE.fields.iter().for_each(|field| visit(&field.ty, &mut seen));
        DERIVED.fields.iter().for_each(|field| visit(&field.ty, &mut seen));
        assert!(seen.len() > 15);
    }

    /// `UMBRA_BLESS=1` writes the file anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/umbra.schema.json");
        let current = format!("{:#}\n", schema());
        if std::env::var_os("UMBRA_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &current).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap();
        assert!(published == current, "docs/umbra.schema.json is stale; run with UMBRA_BLESS=1");
    }
}
