//! The form of what stands around the steps: origin, shadows, notices, exports.

use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, planned, word};

use super::{COMMAND, limit};
use crate::formats;

pub(super) static FROM: Shape = Shape {
    noun: "origin",
    doc: "What the first step starts from.",
    fields: &[
        Field::new("debian", Ty::Object(&DEBIAN), "A Debian system made by mmdebstrap."),
        Field::new("dir", Ty::Text(&formats::HOST), "A directory that holds a root filesystem."),
        Field::new("tar", Ty::Text(&formats::HOST), "A tar archive of a root filesystem."),
        Field::new("oci", Ty::Text(&formats::HOST), "An OCI image layout, `PATH` or `PATH:TAG`."),
        Field::new(
            "state",
            Ty::Text(&formats::STATE),
            "A state in the store, by id or by the name of an image.",
        ),
    ],
    exactly_one: &["debian", "dir", "tar", "oci", "state"],
};

static DEBIAN: Shape = Shape {
    noun: "Debian system",
    doc: "A Debian system made by mmdebstrap.",
    fields: &[
        Field::new("suite", Ty::Text(&formats::SUITE), "Its suite, such as bookworm.").required(),
        Field::new(
            "mirror",
            Ty::Text(&formats::URL),
            "Where its packages come from; the machine's own mirror if not given.",
        ),
        Field::new(
            "components",
            list!(&Ty::Text(&formats::SUITE), 20),
            "Parts of the archive; main if not given.",
        ),
        Field::new(
            "packages",
            list!(&Ty::Text(&formats::PACKAGE), limit::ITEMS),
            "Packages to add from the start.",
        ),
        Field::new(
            "variant",
            Ty::Word(&[
                word("minbase"),
                word("apt"),
                word("essential"),
                word("important"),
                word("standard"),
            ]),
            "Which packages it begins with; minbase if not given.",
        ),
    ],
    exactly_one: &[],
};

pub(super) static SHADOWS: Shape = Shape {
    noun: "shadows",
    doc: "What the shadows are like.",
    fields: &[
        Field::new(
            "provider",
            Ty::Word(&[word("sandbox"), word("qemu"), planned("incus")]),
            "What isolates them: sandboxes on this machine's own kernel, or virtual machines (qemu); \
             sandbox if not given.",
        ),
        Field::new(
            "min",
            Ty::Int { min: 1, max: 64 },
            "How many there are at least; 1 if not given.",
        ),
        Field::new(
            "max",
            Ty::Int { min: 1, max: 64 },
            "How many there are at most; 4, or min if that is more, if not given.",
        ),
        Field::new("memory", Ty::Text(&formats::SIZE), "How much memory each may use."),
        Field::new(
            "cpus",
            Ty::Number { above: 0.0, max: 1024.0 },
            "How many processors each may use, such as 0.5.",
        ),
        Field::new(
            "pids",
            Ty::Int { min: 16, max: 1_000_000 },
            "How many processes and threads each may have.",
        ),
        Field::new(
            "egress",
            Ty::Either(&[Ty::Word(&[word("none")]), list!(&Ty::Text(&formats::EGRESS), 100)]),
            "Where a shadow may connect to; none if not given.",
        ),
        Field::new(
            "init",
            Ty::Word(&[word("services"), word("systemd")]),
            "What runs as the first process: a small init that starts the recipe's services, or \
             the image's own systemd; services if not given.",
        ),
    ],
    exactly_one: &[],
};

pub(super) static NOTIFY: Shape = Shape {
    noun: "notice",
    doc: "Who learns about a halt and about the end of a build.",
    fields: &[
        Field::new(
            "webhook",
            Ty::Text(&formats::URL),
            "An address that gets a JSON document by POST.",
        ),
        Field::new(
            "command",
            COMMAND,
            "A command on the building machine that gets a JSON document on standard input.",
        ),
    ],
    exactly_one: &["webhook", "command"],
};

pub(super) static EXPORT: Shape = Shape {
    noun: "export",
    doc: "A form in which the sealed image leaves.",
    fields: &[
        Field::new(
            "format",
            Ty::Word(&[word("oci"), word("tar"), word("dir"), word("qcow2"), word("raw")]),
            "The form; qcow2 and raw are disks that boot.",
        )
        .required(),
        Field::new("path", Ty::Text(&formats::HOST), "Where to, seen from the recipe's directory.")
            .required(),
        Field::new(
            "size",
            Ty::Text(&formats::SIZE),
            "How large a disk is to be, such as 8Gi; with some room if not given.",
        ),
    ],
    exactly_one: &[],
};
