//! What is known of each frame, and what is there before an allocator is: the boot allocator, and
//! the plan of failures.

pub(crate) mod fault;
pub(crate) mod frame;
pub(crate) mod memblock;
