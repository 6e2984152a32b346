//! The form of a recipe: which keys it has and what each may hold.

mod image;
mod step;
mod test;

#[cfg(test)]
pub(crate) use step::STEP;
pub(crate) use test::SCENARIO;
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, word};

use crate::formats;

/// How many of a thing one recipe may have.
pub(crate) mod limit {
    pub(crate) const STEPS: usize = 500;
    pub(crate) const TESTS: usize = 500;
    pub(crate) const SERVICES: usize = 50;
    pub(crate) const ITEMS: usize = 1_000;
}

/// A recipe.
pub(crate) static RECIPE: Shape = Shape {
    noun: "recipe",
    doc: "How an image is made, and what must hold after each change on the way.",
    fields: &[
        Field::new("version", Ty::Int { min: 1, max: 1 }, "The version of this format: 1.")
            .required(),
        Field::new("name", Ty::Text(&formats::IMAGE_NAME), "The image's name.").required(),
        Field::new(
            "vars",
            VARS,
            "Values to use as `${{ vars.NAME }}`; `--var NAME=VALUE` sets another.",
        ),
        Field::new(
            "from",
            Ty::Either(&[Ty::Text(&formats::FROM), Ty::Object(&image::FROM)]),
            "What the first step starts from.",
        )
        .required(),
        Field::new("env", ENV, "Environment of all steps, services and test commands."),
        Field::new(
            "workdir",
            Ty::Text(&formats::INSIDE),
            "Where commands run unless they say otherwise; / if not given.",
        ),
        Field::new(
            "timeout",
            Ty::Text(&formats::DURATION),
            "How long a step may take unless it says otherwise; 1h if not given.",
        ),
        Field::new(
            "steps",
            Ty::List { item: &Ty::Object(&step::STEP), min: 0, max: limit::STEPS },
            "What changes the image, in this order. Each leaves one delta.",
        ),
        Field::new(
            "services",
            Ty::List { item: &Ty::Object(&step::SERVICE), min: 0, max: limit::SERVICES },
            "What runs in a shadow besides the tests.",
        ),
        Field::new(
            "tests",
            Ty::List { item: &Ty::Object(&test::TEST), min: 0, max: limit::TESTS },
            "What must hold.",
        ),
        Field::new("shadows", Ty::Object(&image::SHADOWS), "What the shadows are like."),
        Field::new(
            "on_error",
            Ty::Word(&[word("halt"), word("ask"), word("continue")]),
            "What a failed test does to the build; halt if not given.",
        ),
        Field::new(
            "notify",
            list!(&Ty::Either(&[Ty::Word(&[word("stdout")]), Ty::Object(&image::NOTIFY)]), 20),
            "Who learns about a halt and about the end of a build.",
        ),
        Field::new(
            "export",
            list!(&Ty::Object(&image::EXPORT), 20),
            "Forms in which the image leaves once it is sealed.",
        ),
    ],
    exactly_one: &[],
};

/// A recipe that is another one with steps put in between.
pub(crate) static DERIVED: Shape = Shape {
    noun: "recipe that extends another",
    doc: "Another recipe, with some more steps.",
    fields: &[
        Field::new("version", Ty::Int { min: 1, max: 1 }, "The version of this format: 1.")
            .required(),
        Field::new(
            "extends",
            Ty::Text(&formats::BESIDE),
            "The other recipe, below this one's directory.",
        )
        .required(),
        Field::new("name", Ty::Text(&formats::IMAGE_NAME), "Another name for the image."),
        Field::new("vars", VARS, "More variables, or other values for those of the other recipe."),
        Field::new(
            "insert",
            list!(&Ty::Object(&INSERT), limit::STEPS),
            "Where to put which steps.",
        ),
    ],
    exactly_one: &[],
};

static INSERT: Shape = Shape {
    noun: "insertion",
    doc: "Steps to put behind one of the other recipe.",
    fields: &[
        Field::new("after", Ty::Text(&formats::NAME), "A step of the other recipe.").required(),
        Field::new(
            "steps",
            list!(&Ty::Elsewhere(&Ty::Object(&step::STEP)), limit::STEPS),
            "The steps.",
        )
        .required(),
    ],
    exactly_one: &[],
};

const VARS: Ty = Ty::MapOf { key: &formats::VAR, value: &Ty::Verbatim, max: limit::ITEMS };
const ENV: Ty = Ty::MapOf { key: &formats::ENV, value: &Ty::Verbatim, max: limit::ITEMS };

/// A command: a line for `/bin/sh -e`, or a program and its arguments.
const COMMAND: Ty = Ty::Either(&[Ty::Text(&formats::SCRIPT), ARGV]);
const ARGV: Ty = list!(&Ty::Text(&formats::ARGUMENT), limit::ITEMS);

const GLOBS: Ty = list!(&Ty::Text(&formats::GLOB), limit::ITEMS);
