//! From a file to a checked recipe: read, extend, replace variables, check, take over.

use std::collections::BTreeMap;
use std::path::Path;

use umbra_document::diagnostic::{Found, Problem, Problems};
use umbra_document::source::{Source, Span};
use umbra_document::yaml::Node;
use umbra_document::{check, file, yaml};
use umbra_state::escape::escape;

use crate::recipe::Recipe;
use crate::shapes;
use crate::{extend, extract, files, formats, scenario, semantic, vars};

/// A recipe file may be this long.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// What problems call the document.
pub(crate) const NOUN: &str = "recipe";

/// Values of variables that take the place of the recipe's own, by name.
pub type Overrides = BTreeMap<String, String>;

/// Reads and checks the recipe at `path`, the files it names included. All problems are
/// reported, not the first; warnings alone are no reason to refuse (see [`check_file`]).
pub fn load(path: &Path, overrides: &Overrides) -> Result<Recipe, Problems> {
    let (recipe, problems) = check_file(path, overrides);
    recipe.ok_or(problems)
}

/// Like [`load`], but hands out warnings even if the recipe is good: there is a recipe
/// exactly if no problem is an error.
pub fn check_file(path: &Path, overrides: &Overrides) -> (Option<Recipe>, Problems) {
    let base_dir = base_dir(path);
    let text = match file::read_text(path, FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return (None, unreadable(path, &error)),
    };
    let mut reader = |relative: &str| files::read_beside(base_dir, relative, FILE_BYTES_MAX);
    let name = path.display().to_string();
    read(&name, text, overrides, Some(&mut reader), |root, found| {
        files::check(root, base_dir, found);
    })
}

/// Checks a recipe that is no file: `name` stands for its path in problems. Files it names
/// are not looked at, and it cannot extend another recipe.
pub fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Recipe, Problems> {
    let too_long = text.len() as u64 > FILE_BYTES_MAX;
    if too_long {
        let error = file::ReadError::TooLong { bytes_max: FILE_BYTES_MAX };
        return Err(unreadable(Path::new(name), &error));
    }
    let (recipe, problems) = read(name, text.to_owned(), overrides, None, |_, _| {});
    recipe.ok_or(problems)
}

/// The directory that relative paths of the recipe at `path` start from.
pub fn base_dir(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives the text of a file below the recipe's directory.
pub(crate) type Reader<'r> = &'r mut ReadFn<'r>;
type ReadFn<'r> = dyn FnMut(&str) -> Result<String, files::ReadError> + 'r;

fn read(
    name: &str,
    text: String,
    overrides: &Overrides,
    reader: Option<Reader<'_>>,
    check_more: impl FnOnce(&Node, &mut Found),
) -> (Option<Recipe>, Problems) {
    let mut found = Found::default();
    let mut sources = vec![Source { name: name.to_owned(), text }];
    let recipe = tree(&mut sources, reader, &mut found)
        .and_then(|root| recipe(root, overrides, &sources, &mut found, check_more));
    (recipe, found.into_problems(&sources))
}

/// The tree of a recipe, with what it extends merged in.
fn tree(
    sources: &mut Vec<Source>,
    mut reader: Option<Reader<'_>>,
    found: &mut Found,
) -> Option<Node> {
    let mut root = extended(sources, reader.as_deref_mut(), found)?;
    scenario::put(&mut root, sources, reader, found);
    Some(root)
}

fn extended(
    sources: &mut Vec<Source>,
    reader: Option<&mut ReadFn<'_>>,
    found: &mut Found,
) -> Option<Node> {
    let root = yaml::parse(0, &sources[0].text, NOUN, found)?;
    let Some(extends) = root.get("extends") else { return Some(root) };
    check::check(&root, &shapes::DERIVED, found);
    let Some(reader) = reader else {
        let message = "a recipe that is no file cannot extend another";
        found.push(Problem::new("extends", message, extends.span, "").at("extends"));
        return None;
    };
    let name = extends.text().filter(|name| (formats::BESIDE.check)(name).is_ok())?.to_owned();
    match reader(&name) {
        Ok(text) => sources.push(Source { name: beside(&sources[0].name, &name), text }),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", check::shorten(&name));
            found.push(Problem::new("missing-file", message, extends.span, "").at("extends"));
            return None;
        }
    }
    let base = yaml::parse(1, &sources[1].text, NOUN, found)?;
    extend::merge(base, root, found)
}

pub(crate) fn beside(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, _)) => format!("{directory}/{name}"),
        None => name.to_owned(),
    }
}

fn recipe(
    mut root: Node,
    overrides: &Overrides,
    sources: &[Source],
    found: &mut Found,
    check_more: impl FnOnce(&Node, &mut Found),
) -> Option<Recipe> {
    let defined = vars::defined(&root, overrides, found);
    let used = vars::substitute(&mut root, &defined, sources, found);
    check::check(&root, &shapes::RECIPE, found);
    semantic::check(&root, found);
    check_more(&root, found);
    if found.has_errors() {
        return None;
    }
    vars::warn_unused(&root, &used, found);
    let recipe = extract::recipe(&root);
    if recipe.is_none() {
        let message = "the recipe passed every check and still cannot be read; this is a bug";
        found.push(Problem::new("bug", message, Span::new(0, 0..0), ""));
    }
    recipe
}

fn unreadable(path: &Path, error: &file::ReadError) -> Problems {
    let name = path.display().to_string();
    let message = format!("cannot read `{}`: {error}", escape(name.as_bytes()));
    let help = matches!(error, file::ReadError::Missing)
        .then(|| "`umbra init` writes a recipe to start from".to_owned());
    Problems::without_place("unreadable", message, help)
}
