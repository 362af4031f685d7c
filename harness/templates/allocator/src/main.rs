//! kvroute's command line over your allocator: `run`, `check`, `show` and `shrink`.

fn main() -> std::process::ExitCode {
    kvroute_harness::cli::main(&allocator_under_test::CAMPAIGNS)
}
