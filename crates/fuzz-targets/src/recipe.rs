//! Recipes.

use umbra_recipe::diagnostic::Problems;
use umbra_recipe::{Overrides, parse};

use crate::Target;
use crate::seeds::files;

/// See [`recipe`].
pub const RECIPE: Target = Target {
    name: "recipe",
    open: || Box::new(recipe),
    seeds: || {
        let dirs = ["examples/web", "crates/recipe/tests/recipes/good"];
        let bad = "crates/recipe/tests/recipes/bad";
        dirs.iter().chain([&bad]).flat_map(|dir| files(dir, ".yaml")).collect()
    },
    words: &[
        "steps:\n",
        "- ",
        "  ",
        "run: ",
        "tests:\n",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        ": ",
        "[",
        "{",
        "]",
        "}",
        "!!str ",
        "${{ vars.a }}",
        "${{",
        "\"",
        "'",
        "|\n",
        "---\n",
        "#",
        "\t",
        "\r\n",
        "é",
        "\u{2028}",
        "0644",
        "10MB",
        "2h",
        "http://localhost:80/",
        "[::1]:",
        "~",
        "1e999",
    ],
    cases: 300,
    heap_factor: 2_000,
};

const SHOWN_BYTES_MAX: usize = 400 << 10;

/// A recipe or problems, never neither; problems are bounded in number and length, hold no
/// control character but the line's end, and survive JSON.
pub fn recipe(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Err(problems) = parse("umbra.yaml", &text, &Overrides::new()) else { return true };
    assert!(problems.has_errors(), "it is refused, so there is an error");
    assert!(problems.diagnostics.len() <= Problems::SHOWN_MAX);
    let shown = problems.render(false);
    assert!(shown.len() <= SHOWN_BYTES_MAX, "{} bytes are shown", shown.len());
    let control = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert!(control.is_none(), "{control:?} is shown");
    let json = serde_json::to_string(&problems).expect("problems are written");
    let again: Problems = serde_json::from_str(&json).expect("and read");
    assert_eq!(again, problems);
    false
}
