//! JSON Schema (draft 7, which editors know best), made from the shapes.
//!
//! A schema accepts exactly the documents whose form the structural check accepts. What no
//! schema can say (that a named value exists, that a pattern compiles) is left to their
//! crate's own checks.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::formats::Format;
use crate::shape::{Field, Shape, Ty};

/// A schema while it is being made.
#[derive(Debug, Default)]
pub struct Schema {
    definitions: Map<String, Json>,
    reference: Option<&'static str>,
}

impl Schema {
    /// A schema in which a value of any type may also be a text that matches the pattern
    /// `reference`, since it will be replaced by what it refers to.
    pub fn with_references(reference: &'static str) -> Self {
        Self { definitions: Map::new(), reference: Some(reference) }
    }

    /// The schema of a document, to be published under `id`, with what it refers to.
    pub fn published(self, mut root: Json, id: &str, title: &str) -> Json {
        root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
        root["$id"] = id.into();
        root["title"] = title.into();
        root["definitions"] = Json::Object(self.definitions);
        sorted(root)
    }

    /// A mapping with known keys.
    pub fn object(&mut self, shape: &Shape) -> Json {
        let mut properties = Map::new();
        for field in shape.fields {
            properties.insert(field.key.to_owned(), self.property(field));
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

    fn property(&mut self, field: &Field) -> Json {
        let mut schema = self.value(&field.ty);
        if schema == Json::Bool(true) {
            schema = json!({});
        }
        if schema.get("$ref").is_some() {
            // Draft 7 ignores everything beside a reference.
            schema = json!({ "allOf": [schema] });
        }
        schema["description"] = field.doc.into();
        schema
    }

    /// Whatever a value may be.
    pub fn value(&mut self, ty: &Ty) -> Json {
        match ty {
            Ty::Text(format) => self.text(format),
            Ty::Verbatim => json!({ "type": ["string", "number", "boolean"] }),
            Ty::Bool => self.or_reference(json!({ "type": "boolean" })),
            Ty::Int { min, max } => {
                self.or_reference(json!({ "type": "integer", "minimum": min, "maximum": max }))
            }
            Ty::Number { above, max } => self.or_reference(
                json!({ "type": "number", "exclusiveMinimum": above, "maximum": max }),
            ),
            Ty::Amount { max } => {
                self.or_reference(json!({ "type": "number", "minimum": 0, "maximum": max }))
            }
            Ty::Word(words) => {
                let words: Vec<&str> =
                    words.iter().filter(|word| word.available).map(|word| word.word).collect();
                self.or_reference(json!({ "enum": words }))
            }
            Ty::List { item, min, max } => {
                let items = self.value(item);
                json!({ "type": "array", "items": items, "minItems": min, "maxItems": max })
            }
            Ty::MapOf { key, value: ty, max } => json!({
                "type": "object",
                "propertyNames": { "pattern": key.pattern },
                "additionalProperties": self.value(ty),
                "maxProperties": max,
            }),
            Ty::Object(shape) => self.defined(shape),
            Ty::Either(types) => {
                let any: Vec<Json> = types.iter().map(|ty| self.value(ty)).collect();
                json!({ "anyOf": any })
            }
            Ty::Elsewhere(ty) => self.value(ty),
            Ty::Foreign => json!(true),
        }
    }

    /// A mapping that stands in one place of the schema and is referred to from others.
    fn defined(&mut self, shape: &Shape) -> Json {
        let name = shape.noun.replace(' ', "-").replace('\'', "");
        if !self.definitions.contains_key(&name) {
            self.definitions.insert(name.clone(), Json::Null);
            let schema = self.object(shape);
            self.definitions.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/definitions/{name}") })
    }

    /// A text of a form, or a reference to one.
    fn text(&self, format: &Format) -> Json {
        let pattern = match self.reference {
            Some(reference) => format!("{}|{reference}", format.pattern),
            None => format.pattern.to_owned(),
        };
        json!({ "type": "string", "pattern": pattern, "examples": [format.example] })
    }

    /// A value that is no text can be referred to as well.
    fn or_reference(&self, schema: Json) -> Json {
        match self.reference {
            Some(reference) => {
                json!({ "anyOf": [schema, { "type": "string", "pattern": reference }] })
            }
            None => schema,
        }
    }
}

/// A key that needs another one beside it.
fn companions(field: &Field) -> Option<(String, Json)> {
    let any: Vec<Json> = field.with.iter().map(|key| json!({ "required": [key] })).collect();
    (!any.is_empty()).then(|| (field.key.to_owned(), json!({ "anyOf": any })))
}

/// The same value with the keys of all mappings in order, whichever way serde_json was built.
pub fn sorted(value: Json) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(sorted).collect(),
        Json::Object(map) => {
            let entries: BTreeMap<_, _> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.into_iter().collect()
        }
        scalar => scalar,
    }
}
