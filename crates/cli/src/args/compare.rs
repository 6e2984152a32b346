//! What can be typed about comparing answers.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use umbra_gateway::mirror::Role;

use super::gateway::Control;

/// How a candidate's answers compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// Answers to show of each field that differs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=5))]
    pub samples: u8,
    /// Say it anew until it passes or fails.
    #[arg(long)]
    pub watch: bool,
    /// Of which gateway.
    #[command(flatten)]
    pub control: Control,
}

/// How answers are compared.
#[derive(Debug, Args)]
pub struct Comparing {
    /// Compare its answers: those of what is to come, or of what is in production already.
    #[arg(long, value_parser = PossibleValuesParser::new(["candidate", "baseline"]).map(role))]
    pub role: Option<Role>,
    /// How much longer than production's a slow answer of the candidate takes (100: twice as long).
    #[arg(long, value_name = "PERCENT")]
    pub slower_percent: Option<u32>,
    /// Never show values of fields with this in their name, as those of passwords; can be given
    /// again.
    #[arg(long = "mask", value_name = "WORD")]
    pub masks: Vec<String>,
}

fn role(word: String) -> Role {
    if word == "baseline" { Role::Baseline } else { Role::Candidate }
}
