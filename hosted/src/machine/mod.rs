//! alloc-core on real memory, for code that needs real pointers.
//!
//! The frames are a memory file. The direct map is one mapping of it; a vmalloc area is mapped page
//! by page in a reserved range of its own, and what is not mapped there cannot be touched. So a
//! caller meets the page protection that it would meet in a kernel.

mod bases;
mod memory;
mod shown;
mod space;

pub use bases::Bases;
pub use memory::RealMemory;
pub use shown::Trouble;
