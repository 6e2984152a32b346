//! How many shadows a pool should have. Pure, but for asking the number of processors.

/// How many shadows there should be, given the recipe's bounds, the processors, how many live
/// and idle, and how many tests wait.
///
/// One shadow runs one test at a time, so waiting tests ask for shadows; more than twice the
/// processors would only make every test slower.
pub(crate) fn wanted(
    (min, max): (usize, usize),
    processors: usize,
    living: usize,
    idle: usize,
    waiting: usize,
) -> usize {
    let busy = living.saturating_sub(idle);
    let useful = (busy + waiting).min(2 * processors);
    useful.clamp(min, max.max(min)).max(living)
}

/// Processors of this machine.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[track_caller]
    fn check(bounds: (usize, usize), living: usize, idle: usize, waiting: usize, size: usize) {
        assert_eq!(wanted(bounds, 2, living, idle, waiting), size);
    }

    #[test]
    fn waiting_tests_ask_for_shadows_within_the_bounds() {
        check((2, 8), 2, 2, 1, 2);
        check((2, 8), 2, 0, 1, 3);
        check((2, 8), 2, 0, 9, 4);
        check((2, 3), 2, 0, 9, 3);
        check((1, 1), 1, 0, 9, 1);
        check((6, 8), 6, 6, 0, 6);
    }
}
