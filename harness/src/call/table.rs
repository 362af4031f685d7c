//! The calls and their rows.

use super::rows::for_each_call;
use super::{CallSpec, Family, Frees, Makes, Role, Traits};

const NO_TRAITS: Traits = Traits {
    zeroes: false,
    routed: false,
    huge: false,
    sleeps: false,
    enables_irqs: false,
    nolock: false,
};

macro_rules! table {
    (callers { $(
        $own:ident $own_name:ident [$($own_campaign:ident)*] ($($own_arg:ident: $own_role:ident),*);
    )* } foreign { $($others:ident { $(
        $foreign:ident $foreign_name:ident $foreign_makes:ident $foreign_frees:ident
            [$($foreign_trait:ident)*] [$($foreign_free:ident)*] [$($foreign_campaign:ident)*]
            ($($foreign_arg:ident: $foreign_role:ident),*);
    )* })* } $($family:ident { $(
        $call:ident $name:ident $makes:ident $frees:ident [$($trait:ident)*]
            [$($free:ident)*] [$($campaign:ident)*] ($($arg:ident: $role:ident),*)
            $(since $since:literal)?;
    )* })*) => {
        /// A call of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the row names each call in C, and Linux documents it")]
        pub enum Call { $($($call,)*)* $($($foreign,)*)* $($own,)* }

        /// Every call of the language. The row's place is the call's number.
        pub static CALLS: &[CallSpec] = &[
            $($(CallSpec {
                call: Call::$call,
                name: stringify!($name),
                family: Family::$family,
                makes: Makes::$makes,
                yields: Makes::$makes.yields(),
                frees: Frees::$frees,
                traits: Traits { $($trait: true,)* ..NO_TRAITS },
                freed_by: &[$(Call::$free),*],
                args: &[$((stringify!($arg), Role::$role)),*],
                since: concat!($($since)?),
                campaigns: &[$(stringify!($campaign)),*],
            },)*)*
            $($(CallSpec {
                call: Call::$foreign,
                name: stringify!($foreign_name),
                family: Family::$others,
                makes: Makes::$foreign_makes,
                yields: Makes::$foreign_makes.yields(),
                frees: Frees::$foreign_frees,
                traits: Traits { $($foreign_trait: true,)* ..NO_TRAITS },
                freed_by: &[$(Call::$foreign_free),*],
                args: &[$((stringify!($foreign_arg), Role::$foreign_role)),*],
                campaigns: &[$(stringify!($foreign_campaign)),*],
                since: "",
            },)*)*
            $(CallSpec {
                call: Call::$own,
                name: stringify!($own_name),
                family: Family::Caller,
                makes: Makes::Nothing,
                yields: Makes::Nothing.yields(),
                frees: Frees::Nothing,
                traits: NO_TRAITS,
                freed_by: &[],
                args: &[$((stringify!($own_arg), Role::$own_role)),*],
                since: "",
                campaigns: &[$(stringify!($own_campaign)),*],
            },)*
        ];

        /// Every call, for a campaign that leaves none out.
        pub const ALL_CALLS: &[Call] =
            &[$($(Call::$call,)*)* $($(Call::$foreign,)*)* $(Call::$own,)*];
    };
}

for_each_call!(table);

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::MAX_ARGS;

    #[test]
    fn rows_are_in_the_order_of_their_enum() {
        for (place, spec) in CALLS.iter().enumerate() {
            assert_eq!(spec.call as usize, place, "{}", spec.name);
            assert!(spec.args.len() <= MAX_ARGS, "{}", spec.name);
        }
    }

    #[test]
    fn each_part_is_played_by_one_argument() {
        for spec in CALLS {
            let roles = spec.args.iter().map(|(_, role)| *role);
            assert!(roles.clone().all(|role| roles.clone().filter(|it| *it == role).count() == 1));
            let frees = spec.frees != Frees::Nothing;
            let is_last = spec.place(Role::FreedList).is_none_or(|at| at + 1 == spec.args.len());
            assert!(is_last, "{}", spec.name);
            let given = [Role::Freed, Role::FreedList, Role::Replaced, Role::Phys, Role::Cache];
            assert!(!frees || given.into_iter().any(|role| spec.has(role)), "{}", spec.name);
        }
    }
}
