//! `umbra-guest`: the first process of a virtual machine that shows states. Nothing else starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("usage: umbra-guest is the first process of a virtual machine");
        return ExitCode::from(2);
    }
    umbra_guest::boot::main()
}
