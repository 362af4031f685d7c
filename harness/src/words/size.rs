//! Sizes and places that traces are written in: the page and its orders, and where x86_64 keeps
//! its two kinds of kernel addresses (R0.2, R4.6).

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// Bytes in a huge page.
pub const HUGE_PAGE: u64 = 2 << 20;

/// The orders of the page allocator end before this one (R3.2).
pub const NR_ORDERS: u32 = 11;

/// Orders above this one are costly: the page allocator gives up on them early.
pub const PAGE_ALLOC_COSTLY_ORDER: u32 = 3;

/// Where a trace that names a constant address finds frame 0.
pub const PAGE_OFFSET: u64 = 0xffff_8880_0000_0000;

/// Where a trace that names a constant address finds the vmalloc space.
pub const VMALLOC_START: u64 = 0xffff_c900_0000_0000;

/// The order of a block that fills an address space; nobody has one.
pub const LARGEST_ORDER: u32 = 51;

/// The number of pages that hold `size` bytes.
pub fn pages_of(size: u64) -> u64 {
    size / PAGE + u64::from(!size.is_multiple_of(PAGE))
}

/// The smallest order that holds `size` bytes, or the largest that an address space has.
pub fn order_of(size: u64) -> u32 {
    let mut order = 0;
    while order < LARGEST_ORDER && (PAGE << order) < size {
        order += 1;
    }
    order
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn orders_are_rounded_up() {
        let orders = [0, 1, PAGE, PAGE + 1, 3 * PAGE, 4 * PAGE].map(order_of);
        assert_eq!(orders, [0, 0, 0, 1, 2, 2]);
    }
}
