//! The form of what may be done without asking.

use umbra_document::formats::{DURATION, LINE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty};

use super::SEVERITY;
use crate::config::formats::QUIET_HOURS;
use crate::config::policy::Requirement;

pub(super) static POLICY: Shape = Shape {
    noun: "policy",
    doc: "What may be done without asking.",
    fields: &[
        Field::new(
            "auto_rollback",
            Ty::Object(&AUTO_ROLLBACK),
            "When drifts of parameters with `on_drift: rollback` are put back; never if not given.",
        ),
        Field::new(
            "maintenance",
            list!(&Ty::Object(&MAINTENANCE), 100),
            "Whose work makes changes expected.",
        ),
    ],
    exactly_one: &[],
};

static AUTO_ROLLBACK: Shape = Shape {
    noun: "automatic rollback",
    doc: "When a drift may be put back without asking.",
    fields: &[
        Field::new("min_severity", SEVERITY, "The least grave drift.").required(),
        Field::new(
            "require",
            list!(&Ty::Word(Requirement::WORDS), 2),
            "What must hold besides; both if not given.",
        ),
        Field::new(
            "max_per_hour",
            Ty::Int { min: 1, max: 1_000 },
            "How many in any hour; 2 if not given.",
        ),
        Field::new(
            "quiet_hours",
            list!(&Ty::Text(&QUIET_HOURS), 24),
            "When none is begun, in local time.",
        ),
    ],
    exactly_one: &[],
};

static MAINTENANCE: Shape = Shape {
    noun: "maintenance",
    doc: "A program whose changes are expected while it works.",
    fields: &[
        Field::new("match", Ty::Object(&MATCH), "Which program.").required(),
        Field::new(
            "until_idle",
            Ty::Text(&DURATION),
            "How long after its last change it still counts as working; 10m if not given.",
        ),
    ],
    exactly_one: &[],
};

static MATCH: Shape = Shape {
    noun: "match",
    doc: "Which program.",
    fields: &[Field::new("process", Ty::Text(&LINE), "The name of its process.").required()],
    exactly_one: &[],
};
