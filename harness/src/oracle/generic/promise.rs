//! Promise: granted memory has the bytes that were asked for, is aligned as its interface says, can
//! be accessed, and a reallocation keeps what the old memory held.
//!
//! How much more than the requested size is usable, and where it lies, is the allocator's own.

use crate::model::{Granted, Want};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::subject::{Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "promise",
    sentence: "granted memory is as large, as aligned and as accessible as was asked for, \
               and a reallocation keeps the bytes",
    pack: Pack::Generic,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let step = match event {
        Event::Step(step) => step,
        Event::Probe(probe) => {
            return probe.granted.map_or(Ok(()), |granted| as_asked(granted, probe.unmapped));
        }
        _ => return Ok(()),
    };
    let asked = step.record.want.map_or(1, |want| want.nr_pieces);
    let given = step.record.reply.answer.granted().len() as u64;
    if given > asked {
        return Err(format!("{given} pieces of memory of {asked} asked for"));
    }
    step.grants().try_for_each(|(want, granted)| kept(step, want, granted))
}

/// A piece of memory is as was asked for, and holds what the memory did that it replaces.
fn kept(step: &Step, want: &Want, granted: Granted) -> Judgement {
    as_asked(granted, step.record.unmapped)?;
    match (step.record.not_kept, step.model.replaced(want)) {
        (Some(at), Some(replaced)) if granted.is_memory() => {
            let Granted { addr, .. } = granted;
            Err(format!("byte {at:#x} of {:#x} is not that of {addr:#x}", replaced.old.addr))
        }
        _ => Ok(()),
    }
}

/// A piece of memory is as large, as aligned and as accessible as was asked for.
fn as_asked(granted: Granted, unmapped: Option<u64>) -> Judgement {
    let Granted { addr, usable, size, align, stays, .. } = granted;
    if !granted.is_memory() {
        // An address that stands for no memory is right for a size of 0 only, or where a
        // reallocation gives back the address that it was given.
        return if size == 0 || stays {
            Ok(())
        } else {
            Err(format!("{addr:#x} for {size:#x} bytes"))
        };
    }
    if usable < size {
        return Err(format!("{addr:#x} has {usable:#x} usable bytes of {size:#x} asked for"));
    }
    if addr.checked_add(usable).is_none() {
        return Err(format!("{addr:#x}+{usable:#x} goes beyond all addresses"));
    }
    // What stays where it is keeps the alignment that it was asked for with.
    if !stays && !addr.is_multiple_of(align.max(1)) {
        return Err(format!("{addr:#x} is not aligned to {align:#x}"));
    }
    match unmapped {
        Some(offset) => {
            Err(format!("byte {offset:#x} of {addr:#x}+{usable:#x} cannot be accessed"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::lane::Probe;
    use crate::model::Kind;
    use crate::oracle::fixture::{DIRECT, barks, enter, memory, model, record, silent};
    use crate::words::gfp::GFP_KERNEL;

    #[test]
    fn barks_on_memory_that_is_short_askew_or_not_there() {
        let kmalloc = ask::kmalloc(64, GFP_KERNEL);
        silent(&ORACLE, &model(), &record(kmalloc, memory(DIRECT, 100)));
        barks(&ORACLE, &model(), &record(kmalloc, memory(DIRECT, 63)), "usable");
        barks(&ORACLE, &model(), &record(kmalloc, memory(DIRECT + 32, 64)), "aligned");
        barks(&ORACLE, &model(), &record(kmalloc, memory(0, 64)), "for 0x40 bytes");
        barks(&ORACLE, &model(), &record(kmalloc, memory(DIRECT, u64::MAX)), "beyond all");
        let mut hole = record(kmalloc, memory(DIRECT, 64));
        hole.unmapped = Some(8);
        barks(&ORACLE, &model(), &hole, "accessed");
        silent(&ORACLE, &model(), &record(ask::kmalloc(0, GFP_KERNEL), memory(16, 0)));
    }

    #[test]
    fn barks_on_what_is_given_back_at_once_as_on_all_else() {
        let request = ask::alloc(64, 32);
        let probe = |addr, unmapped| {
            let granted = model().granted(&Want::of(&request).expect("memory"), addr, 64);
            let answer = memory(addr, 64);
            let probe = Probe { request, answer, granted: Some(granted), unmapped };
            judge(&Event::Probe(&probe))
        };
        assert_eq!(probe(DIRECT, None), Ok(()));
        assert!(probe(DIRECT + 16, None).is_err());
        assert!(probe(DIRECT, Some(63)).is_err());
    }

    #[test]
    fn barks_on_a_byte_that_was_left_behind() {
        let mut model = model();
        enter(&mut model, DIRECT, 64, Kind::Kmalloc, &[0]);
        let request = ask::krealloc(DIRECT, 100, GFP_KERNEL);
        let mut moved = record(request, memory(DIRECT + 4096, 128));
        silent(&ORACLE, &model, &moved);
        moved.not_kept = Some(63);
        barks(&ORACLE, &model, &moved, "0x3f");
    }
}
