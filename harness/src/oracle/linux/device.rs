//! Device: a device sees coherent memory where it was told, all of it and nothing else.
//!
//! Coherent memory has two addresses, and only the allocator knows that they belong together
//! (R7.3). So the frames are looked up from both sides: page by page from the bus address on, the
//! device must find those that the processor sees.
//!
//! That the frames are nobody else's is judged in `overlap`.

use crate::model::Interface;
use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::Answer;
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "device",
    sentence: "a device sees the frames of coherent memory at its bus address, and no other memory",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Frames]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let (Some(want), Answer::Memory { addr, bus, .. }) =
        (&step.record.want, step.record.reply.answer)
    else {
        return Ok(());
    };
    match (want.interface, bus) {
        (Interface::DmaCoherent, None) => {
            Err(format!("{addr:#x} is coherent and has no bus address"))
        }
        (Interface::DmaCoherent, Some(bus)) => {
            let align = step.model.promise(want).1;
            if !bus.is_multiple_of(align) {
                return Err(format!("the bus address {bus:#x} is not aligned to {align:#x}"));
            }
            match step.record.unshared {
                Some(at) => {
                    Err(format!("the device sees other memory {at:#x} bytes from {bus:#x}"))
                }
                None => Ok(()),
            }
        }
        (_, Some(bus)) => Err(format!("{addr:#x} was not meant for a device, which sees {bus:#x}")),
        (_, None) => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::lane::Record;
    use crate::oracle::fixture::{DIRECT, barks, memory, model, record, silent};
    use crate::words::gfp::GFP_KERNEL;

    const BUS: u64 = 0x40_0000_0000;

    fn coherent(bus: Option<u64>) -> Record {
        let request = ask::dma_alloc_coherent(5000, GFP_KERNEL);
        record(request, Answer::Memory { addr: DIRECT, usable: 8192, bus })
    }

    #[test]
    fn barks_on_a_device_that_sees_something_else() {
        let mut record = coherent(Some(BUS));
        record.unshared = Some(4096);
        barks(&ORACLE, &model(), &record, "0x1000 bytes");
    }

    #[test]
    fn barks_on_a_bus_address_that_is_missing_or_not_aligned() {
        barks(&ORACLE, &model(), &coherent(None), "no bus address");
        barks(&ORACLE, &model(), &coherent(Some(BUS + 4096)), "aligned");
    }

    #[test]
    fn barks_on_a_bus_address_of_memory_that_no_device_uses() {
        let request = ask::kmalloc(64, GFP_KERNEL);
        let answer = Answer::Memory { addr: DIRECT, usable: 64, bus: Some(BUS) };
        barks(&ORACLE, &model(), &record(request, answer), "not meant");
    }

    #[test]
    fn silent_on_the_same_frames_from_both_sides() {
        silent(&ORACLE, &model(), &coherent(Some(BUS)));
        let request = ask::kmalloc(64, GFP_KERNEL);
        silent(&ORACLE, &model(), &record(request, memory(DIRECT, 64)));
    }
}
