//! The `kvroute` command line.
fn main() {}
