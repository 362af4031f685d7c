//! The search of `kvroute live shrink`: callers by halves, then requests by halves.
//!
//! A part is taken if it fails alike. Where neither half does, both are needed, and the search is
//! at its end.
//!
//! What failing alike means is asked of a closure.

use super::plan::CALLERS_BYTES_MAX;
use std::ops::RangeInclusive;

/// As few callers as fail alike by halving.
///
/// # Errors
/// Those of `fails`.
pub(super) fn callers(
    names: Vec<String>,
    mut fails: impl FnMut(&[String]) -> Result<bool, String>,
) -> Result<Vec<String>, String> {
    let mut left = names;
    'halving: while left.len() > 1 {
        for part in parts(&left) {
            if fails(part)? {
                left = part.to_vec();
                continue 'halving;
            }
        }
        break;
    }
    Ok(left)
}

/// Two halves, or more parts where a half is longer than the module takes.
fn parts(names: &[String]) -> Vec<&[String]> {
    let nr_most = names.len().div_ceil(2);
    let mut parts = Vec::new();
    let mut rest = names;
    while !rest.is_empty() {
        let mut nr_bytes = 0;
        let fitting = rest.iter().take(nr_most).take_while(|name| {
            nr_bytes += name.len() + 1;
            nr_bytes <= CALLERS_BYTES_MAX
        });
        let (part, after) = rest.split_at(fitting.count().max(1));
        parts.push(part);
        rest = after;
    }
    parts
}

/// As few requests as fail alike by halving.
///
/// # Errors
/// Those of `fails`.
pub(super) fn requests(
    numbers: RangeInclusive<u64>,
    mut fails: impl FnMut(&RangeInclusive<u64>) -> Result<bool, String>,
) -> Result<RangeInclusive<u64>, String> {
    let (mut first, mut last) = numbers.into_inner();
    while first < last {
        let middle = first + (last - first) / 2;
        if fails(&(first..=middle))? {
            last = middle;
        } else if fails(&(middle + 1..=last))? {
            first = middle + 1;
        } else {
            break;
        }
    }
    Ok(first..=last)
}

#[cfg(test)]
mod test {
    use super::*;

    fn names(nr: usize) -> Vec<String> {
        (0..nr).map(|number| format!("module:function_{number}+0x1f")).collect()
    }

    #[test]
    fn one_caller_is_found_among_any_number() {
        for nr in [1, 2, 3, 10, 1000] {
            for guilty in [0, nr / 2, nr - 1] {
                let all = names(nr);
                let mut nr_runs = 0;
                let found = callers(all.clone(), |part| {
                    nr_runs += 1;
                    assert!(part.join(",").len() <= CALLERS_BYTES_MAX);
                    Ok(part.contains(&all[guilty]))
                });
                assert_eq!(found, Ok(vec![all[guilty].clone()]), "{guilty} of {nr}");
                assert!(nr_runs <= 30, "{nr_runs} runs for {nr} callers");
            }
        }
    }

    #[test]
    fn callers_that_are_needed_together_stay() {
        let all = names(8);
        let found =
            callers(all.clone(), |part| Ok(part.contains(&all[1]) && part.contains(&all[2])));
        assert_eq!(found, Ok(all[..4].to_vec()));
        let found = callers(all.clone(), |_| Ok(false));
        assert_eq!(found, Ok(all));
    }

    #[test]
    fn one_request_is_found_and_two_that_are_needed_stay() {
        for guilty in 1..=20 {
            assert_eq!(requests(1..=20, |part| Ok(part.contains(&guilty))), Ok(guilty..=guilty));
        }
        let both = |part: &RangeInclusive<u64>| Ok(part.contains(&3) && part.contains(&9));
        assert_eq!(requests(1..=20, both), Ok(1..=10));
        assert_eq!(requests(5..=5, |_| panic!("there is nothing to ask")), Ok(5..=5));
    }

    #[test]
    fn an_error_ends_the_search() {
        assert_eq!(callers(names(4), |_| Err("over".into())), Err("over".to_owned()));
        assert_eq!(requests(1..=4, |_| Err("over".into())), Err("over".to_owned()));
    }
}
