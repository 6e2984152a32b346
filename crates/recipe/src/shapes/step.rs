//! The form of steps and services.

use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty};

use super::{COMMAND, ENV, GLOBS, limit};
use crate::formats;

/// The keys of which a step has exactly one.
const ACTIONS: &[&str] = &["run", "copy", "write", "packages"];

const COMMANDS: &[&str] = &["run", "packages"];

pub(crate) static STEP: Shape = Shape {
    noun: "step",
    doc: "One change of the image.",
    fields: &[
        Field::new("name", Ty::Text(&formats::NAME), "Its name, unique among the steps.")
            .required(),
        Field::new("run", COMMAND, "A line for `/bin/sh -e`, or a program and its arguments."),
        Field::new("copy", Ty::Object(&COPY), "Files from beside the recipe."),
        Field::new("write", Ty::Object(&WRITE), "One file with the given content."),
        Field::new(
            "packages",
            Ty::Either(&[PACKAGE_LIST, Ty::Object(&PACKAGES)]),
            "Debian packages to install.",
        ),
        Field::new("env", ENV, "More environment variables.").with(COMMANDS),
        Field::new("workdir", Ty::Text(&formats::INSIDE), "Where the command runs.").with(&["run"]),
        Field::new("user", Ty::Text(&formats::USER), "Who runs the command; root if not given.")
            .with(&["run"]),
        Field::new("timeout", Ty::Text(&formats::DURATION), "How long the step may take."),
        Field::new("network", Ty::Bool, "Whether the step reaches the network; true if not given.")
            .with(COMMANDS),
        Field::new(
            "cache",
            list!(&Ty::Text(&formats::INSIDE), 20),
            "Directories kept from build to build and never part of the image.",
        )
        .with(COMMANDS),
        Field::new(
            "secrets",
            list!(&Ty::Object(&SECRET), 20),
            "Files that exist only while the step runs and never reach the image.",
        )
        .with(COMMANDS),
        Field::new(
            "continue_on_error",
            Ty::Bool,
            "Whether the build goes on if the command fails; false if not given.",
        )
        .with(COMMANDS),
    ],
    exactly_one: ACTIONS,
};

static COPY: Shape = Shape {
    noun: "copy",
    doc: "A file, or a directory with everything below it, put into the image.",
    fields: &[
        Field::new("src", Ty::Text(&formats::BESIDE), "What to copy; symbolic links are copied as links.").required(),
        Field::new("dest", Ty::Text(&formats::INSIDE), "Where it goes. The content of a directory goes below this path; a file becomes this path, or keeps its name below it if it ends with `/`.").required(),
        Field::new("mode", Ty::Text(&formats::MODE), "Mode of the files, in quotes; directories get the execute bits that go with it. As on disk if not given."),
        Field::new("owner", Ty::Text(&formats::OWNER), "`user:group` of everything; root:root if not given."),
    ],
    exactly_one: &[],
};

static WRITE: Shape = Shape {
    noun: "write",
    doc: "A file written into the image, its parent directories included.",
    fields: &[
        Field::new("path", Ty::Text(&formats::INSIDE), "The file.").required(),
        Field::new("content", Ty::Text(&formats::ANY), "What it holds.").required(),
        Field::new("mode", Ty::Text(&formats::MODE), "Its mode, in quotes; \"0644\" if not given."),
        Field::new("owner", Ty::Text(&formats::OWNER), "Its `user:group`; root:root if not given."),
    ],
    exactly_one: &[],
};

const PACKAGE_LIST: Ty = list!(&Ty::Text(&formats::PACKAGE), limit::ITEMS);

static PACKAGES: Shape = Shape {
    noun: "packages",
    doc: "Debian packages to install with apt-get.",
    fields: &[
        Field::new("names", PACKAGE_LIST, "The packages.").required(),
        Field::new(
            "update",
            Ty::Bool,
            "Whether the package lists are fetched first; true if not given.",
        ),
        Field::new(
            "recommends",
            Ty::Bool,
            "Whether recommended packages come too; false if not given.",
        ),
    ],
    exactly_one: &[],
};

static SECRET: Shape = Shape {
    noun: "secret",
    doc: "A file that exists only while the step runs.",
    fields: &[
        Field::new("id", Ty::Text(&formats::VAR), "Its name.").required(),
        Field::new(
            "env",
            Ty::Text(&formats::ENV),
            "The environment variable of the building user that holds it.",
        ),
        Field::new(
            "file",
            Ty::Text(&formats::HOST),
            "The file on the building machine that holds it.",
        ),
        Field::new(
            "target",
            Ty::Text(&formats::INSIDE),
            "Where the step finds it; /run/secrets/ID if not given.",
        ),
    ],
    exactly_one: &["env", "file"],
};

pub(super) static SERVICE: Shape = Shape {
    noun: "service",
    doc: "A program that runs in a shadow while tests look at it.",
    fields: &[
        Field::new("name", Ty::Text(&formats::NAME), "Its name, unique among the services.")
            .required(),
        Field::new(
            "run",
            COMMAND,
            "A line for `/bin/sh -e`, or a program and its arguments; it stays in the foreground.",
        )
        .required(),
        Field::new(
            "after",
            Ty::Text(&formats::NAME),
            "The step from which on it exists; the first if not given.",
        ),
        Field::new("user", Ty::Text(&formats::USER), "Who runs it; root if not given."),
        Field::new("env", ENV, "More environment variables."),
        Field::new("workdir", Ty::Text(&formats::INSIDE), "Where it runs."),
        Field::new(
            "ready",
            Ty::Object(&READY),
            "How to see that it can be used; as soon as it runs if not given.",
        ),
        Field::new(
            "timeout",
            Ty::Text(&formats::DURATION),
            "How long it may take to be ready; 30s if not given.",
        ),
        Field::new(
            "restart_on",
            GLOBS,
            "A delta that changes one of these restarts it; any delta if not given.",
        ),
    ],
    exactly_one: &[],
};

static READY: Shape = Shape {
    noun: "readiness",
    doc: "How to see that a service can be used.",
    fields: &[
        Field::new("port", Ty::Int { min: 1, max: 65_535 }, "A TCP port that accepts connections."),
        Field::new(
            "http",
            Ty::Text(&formats::URL),
            "An address, seen from inside the shadow, that answers with a status below 400.",
        ),
        Field::new("command", COMMAND, "A command that succeeds."),
        Field::new("file", Ty::Text(&formats::INSIDE), "A path that exists."),
    ],
    exactly_one: &["port", "http", "command", "file"],
};
