//! Recipes: reading one, beginning one, their schema.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use umbra_recipe::{Overrides, Recipe};

use super::Done;
use crate::error::{CliError, Finish};
use crate::ui::Ui;

/// Reads a recipe here, so that its problems are shown before a daemon is bothered. They go
/// to standard error, or as JSON to standard output where that was asked for.
pub(super) fn check(ui: &Ui, path: &Path, vars: &[(String, String)]) -> Result<Recipe, CliError> {
    let overrides: Overrides = vars.iter().cloned().collect();
    let (recipe, problems) = umbra_recipe::check_file(path, &overrides);
    if !problems.is_empty() {
        if ui.json() && recipe.is_none() {
            ui.answer_with(&problems, |_| String::new())?;
        } else {
            ui.story(problems.render(ui.paint().is_coloured()).trim_end());
        }
    }
    recipe.ok_or_else(|| {
        let message = format!("accept the recipe {}", path.display());
        CliError::new(Finish::Usage, message).with_hint(if path.exists() {
            "`umbra schema` prints what a recipe may hold; `umbra init` writes one to begin with"
        } else {
            "name a recipe with -f, or write one with `umbra init`"
        })
    })
}

/// Writes a recipe to begin with; never over one that exists.
pub(super) fn init(ui: &Ui, dir: &Path, name: Option<String>, distro: &str) -> Done {
    let failed = |what: &str, path: &Path, error: &std::io::Error| {
        CliError::because(Finish::Environment, format!("{what} {}", path.display()), error)
    };
    std::fs::create_dir_all(dir).map_err(|error| failed("make", dir, &error))?;
    let name = match name {
        Some(name) => name,
        None => image_name(dir).map_err(|error| failed("find", dir, &error))?,
    };
    let path = dir.join("umbra.yaml");
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("write {}: there is one already", path.display());
            return Err(CliError::new(Finish::Usage, message)
                .with_hint("remove it first, or choose another directory"));
        }
        Err(error) => return Err(failed("write", &path, &error)),
    };
    let text = umbra_recipe::init_template(&name, distro);
    file.write_all(text.as_bytes()).map_err(|error| failed("write", &path, &error))?;
    ui.story(&format!("wrote {}; build it with: umbra build -f {0}", path.display()));
    Ok(Finish::Pass)
}

/// An image's name from a directory's: lower case, with `-` for what names cannot hold.
fn image_name(dir: &Path) -> std::io::Result<String> {
    let full = std::fs::canonicalize(dir)?;
    let name = full.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept = kept.trim_matches('-');
    Ok(if kept.is_empty() { "image".to_owned() } else { kept.to_owned() })
}

/// Prints the JSON Schema of recipes.
pub(super) fn schema(ui: &Ui) -> Done {
    let text = serde_json::to_string_pretty(&umbra_recipe::schema())
        .map_err(|error| CliError::because(Finish::Bug, "write the schema", &error))?;
    ui.answer(&format!("{text}\n"))?;
    Ok(Finish::Pass)
}
