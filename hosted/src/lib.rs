//! Real memory under kvroute: what the harness simulates elsewhere, in this process' own pages.
//!
//! The one idea: this is the only place with unsafe code. Each file that needs it says why, and
//! gives the rest of the house a safe face.

pub mod caller;
pub mod heap;
pub mod machine;

pub use kvroute_harness as harness;

/// A campaign of one or several heaps, with the traces of the campaign `heap`. With several, each
/// trace runs down all of them, and their answers are compared.
///
/// ```
/// # use std::alloc::System;
/// use kvroute_hosted::heap::OfGlobal;
/// kvroute_hosted::heap_campaign!(MINE = "mine" [OfGlobal<System>]);
/// # let trace = kvroute_harness::Trace::parse("r0 = alloc(0x40, 0x10)\ndealloc(r0)").unwrap();
/// kvroute_harness::check(&MINE, &trace).unwrap();
/// ```
#[macro_export]
macro_rules! heap_campaign {
    ($place:ident = $name:literal [$($heap:ty),+ $(,)?]) => {
        $crate::foreign_campaign!($place = $name HEAP "heap" boot_heap heap_has [$($heap),+]
            led by [$($crate::heap::lead::<$heap>),+]);
    };
}

/// The same of frame allocators, with the traces of the campaign `frames`.
#[macro_export]
macro_rules! frames_campaign {
    ($place:ident = $name:literal [$($frames:ty),+ $(,)?]) => {
        $crate::foreign_campaign!($place = $name FRAMES "frames" boot_frames frames_have [$($frames),+]
            led by []);
    };
}

/// What the two have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! foreign_campaign {
    ($place:ident = $name:literal $like:ident $calls:literal $boot:ident $has:ident [$($allocator:ty),+]
        led by [$($lead:expr),*]) => {
        /// A campaign of allocators that are not Linux'.
        pub static $place: $crate::harness::Campaign = $crate::harness::Campaign {
            name: $name,
            sentence: concat!("The allocator ", $name, " under the traces of others."),
            lanes: &[$($crate::harness::campaign::foreign(
                stringify!($allocator),
                $crate::heap::$boot::<$allocator>,
            )),+],
            follows: 0,
            // What one of them does not have is asked of none.
            profile: $crate::harness::generate::Profile {
                calls: $crate::harness::generate::CallSet::Had(
                    $calls,
                    |call| $($crate::heap::$has::<$allocator>(call))&&+,
                ),
                ..$crate::harness::campaign::$like.profile
            },
            every_op: $crate::harness::campaign::EveryOp::Nothing,
            isolation: $crate::harness::campaign::Isolation::Worker,
            churns: &[$($lead),*],
        };
    };
}

/// The examples of the guide, which are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/your-allocator.md")]
struct Documents;
