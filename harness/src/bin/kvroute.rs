//! The program `kvroute`: the command line over the campaigns of this repository.

use kvroute_harness::{campaign, cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(campaign::EVERY)
}
