//! All rules on the same requests: a thousand a minute, one in twenty the candidate's, for at most
//! an hour.

use fastrand::Rng;
use umbra_judge::arm::Arm;

use crate::ours::Ours;
use crate::rivals::{Argo, End, Flagger, Kayenta, Minute, Peeked, Rule};
use crate::traffic::{Answer, Change, Route, Traffic};

pub(crate) const WEIGHT: f64 = 0.05;
const A_MINUTE: u64 = 1_000;
const MINUTES: u64 = 60;

/// In the order of what [`beside`] answers.
pub(crate) const RULES: [&str; 6] = [
    "Flagger, threshold 5",
    "Flagger, threshold 2",
    "Argo Rollouts",
    "1 % test, peeked at",
    "Kayenta's judge",
    "umbra",
];

/// What it came to by each rule: `None` where the candidate was promoted, else after how many of
/// its requests it was rolled back.
pub(crate) type Ends = [Option<u64>; RULES.len()];

/// One rollout. Production fails in 0.5 % of requests and takes 100 ms in the median.
pub(crate) fn beside(rng: &mut Rng, ours: &Ours, unrest: bool, change: Change) -> Ends {
    let unrest = unrest.then_some(A_MINUTE * MINUTES);
    let route = Route { unrest, ..ROUTE };
    let mut rules: [Box<dyn Rule>; RULES.len() - 1] = [
        Box::new(Flagger::new(0.99, 5)),
        Box::new(Flagger::new(0.99, 2)),
        Box::new(Argo::new(0.95)),
        Box::new(Peeked::new(MINUTES as u32)),
        Box::new(Kayenta::new(2, 0, 5)),
    ];
    let mut ends: [Option<End>; RULES.len()] = [None; RULES.len()];
    let mut after = [0; RULES.len()];
    let mut ours = ours.clone();
    ours.stage(WEIGHT);
    let mut traffic = Traffic::new(rng, route, change);
    let mut of_candidate = 0;
    for _ in 0..MINUTES {
        let mut answers: [Vec<Answer>; 2] = Default::default();
        for _ in 0..A_MINUTE {
            let arm = ours.arm(rng);
            let answer = traffic.answer(rng, arm);
            answers[usize::from(arm == Arm::Candidate)].push(answer);
            of_candidate += u64::from(arm == Arm::Candidate);
            ours.request(arm, answer);
            if ends[RULES.len() - 1].is_none() && ours.trial.is_worse() {
                (ends[RULES.len() - 1], after[RULES.len() - 1]) =
                    (Some(End::RolledBack), of_candidate);
            }
        }
        let minute = Minute::new(&answers);
        for ((rule, end), after) in rules.iter_mut().zip(&mut ends).zip(&mut after) {
            if end.is_none() {
                (*end, *after) = (rule.minute(&minute), of_candidate);
            }
        }
        if ends.iter().all(Option::is_some) {
            break;
        }
    }
    std::array::from_fn(|rule| (ends[rule] == Some(End::RolledBack)).then_some(after[rule]))
}

/// Production on a calm day.
pub(crate) const ROUTE: Route = Route { errors: 0.005, sigma: 0.5, unrest: None };
