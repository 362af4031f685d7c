//! Real memory under kvroute: what the harness simulates elsewhere, in this process' own pages.
//!
//! The one idea: this is the only place with unsafe code. Each file that needs it says why, and
//! gives the rest of the house a safe face.

pub mod machine;
