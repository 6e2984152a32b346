//! Sums of numbers that are known by their logarithms.
//!
//! With functions of `libm`: those of the platform may differ in the last bit, and what was judged
//! on one machine is to be judged the same on any other.

/// The logarithm of the mean of what these are logarithms of. Never overflows.
pub(crate) fn log_mean_exp(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return most;
    }
    let sum: f64 = logs.iter().map(|log| libm::exp(log - most)).sum();
    most + libm::log(sum / logs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::log_mean_exp;

    #[test]
    fn a_mean_of_what_no_number_holds() {
        assert!((log_mean_exp(&[0.0, 0.0]) - 0.0).abs() < 1e-12);
        assert!((log_mean_exp(&[2_f64.ln(), 4_f64.ln()]) - 3_f64.ln()).abs() < 1e-12);
        assert!((log_mean_exp(&[5_000.0, 5_000.0]) - 5_000.0).abs() < 1e-9);
        assert_eq!(log_mean_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    }
}
