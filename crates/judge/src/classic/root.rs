//! Where a function crosses zero.

/// Steps after which the best point so far is the answer; bisection alone needs some fifty.
const STEPS_MAX: usize = 1_000;

/// A place and what the function is there.
#[derive(Clone, Copy)]
struct Point {
    at: f64,
    is: f64,
}

/// The root between two places at which `f` has different signs, to `tolerance`, by Brent's method
/// (Algorithms for Minimization without Derivatives, 1973, chapter 4): a step along the secant or
/// the inverse parabola where that is sure to get closer, else to the middle.
pub(super) fn root(f: impl Fn(f64) -> f64, ends: [f64; 2], tolerance: f64) -> f64 {
    let point = |at| Point { at, is: f(at) };
    // The root lies between `best` and `other`; `last` is the best point before.
    let [mut last, mut best] = ends.map(point);
    if last.is == 0.0 {
        return last.at;
    }
    let mut other = last;
    for _ in 0..STEPS_MAX {
        let moved = best.at - last.at;
        if other.is.abs() < best.is.abs() {
            (last, best) = (best, other);
            other = last;
        }
        let least = 2.0 * f64::EPSILON * best.at.abs() + tolerance / 2.0;
        let half = (other.at - best.at) / 2.0;
        if half.abs() <= least || best.is == 0.0 {
            break;
        }
        let promising = moved.abs() >= least && last.is.abs() > best.is.abs();
        let guess = if promising { guess(last, best, other, moved, least) } else { None };
        let step = guess.unwrap_or(half);
        let step = if step.abs() < least { least.copysign(step) } else { step };
        last = best;
        best = point(best.at + step);
        if (best.is > 0.0) == (other.is > 0.0) {
            other = last;
        }
    }
    best.at
}

/// The step to where the line or the parabola through the points crosses zero; `None` where that
/// is too far to be trusted.
fn guess(last: Point, best: Point, other: Point, moved: f64, least: f64) -> Option<f64> {
    let width = other.at - best.at;
    let to_last = best.is / last.is;
    let (mut p, mut q) = if last.at == other.at {
        (width * to_last, 1.0 - to_last)
    } else {
        let (across, to_other) = (last.is / other.is, best.is / other.is);
        let back = (best.at - last.at) * (to_other - 1.0);
        let p = to_last * (width * across * (across - to_other) - back);
        (p, (across - 1.0) * (to_other - 1.0) * (to_last - 1.0))
    };
    if p > 0.0 {
        q = -q
    } else {
        p = -p
    }
    let inside = p < 0.75 * width * q - (least * q).abs() / 2.0;
    (inside && p < (moved * q / 2.0).abs()).then(|| p / q)
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn a_root_is_found() {
        #[track_caller]
        fn check(f: impl Fn(f64) -> f64, ends: [f64; 2], known: f64) {
            let found = root(f, ends, 1e-9);
            assert!((found - known).abs() < 1e-8, "{found}, not {known}");
        }
        check(|x| x * x - 2.0, [0.0, 2.0], 2_f64.sqrt());
        check(|x| 2.0 - x * x, [0.0, 2.0], 2_f64.sqrt());
        check(|x| x.cos() - x, [0.0, 1.0], 0.739_085_133_215_160_6);
        check(|x| x.powi(9), [-1.0, 3.0], 0.0);
        // What is not smooth has a place at which it changes its sign.
        check(|x| if x < 0.3 { 1.0 } else { -7.0 }, [-4.0, 9.0], 0.3);
        check(|x| x - 5.0, [5.0, 9.0], 5.0);
        check(|x| x - 9.0, [5.0, 9.0], 9.0);
    }
}
