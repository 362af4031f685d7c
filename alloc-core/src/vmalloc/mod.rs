//! Virtually contiguous memory: the address space, its page tables, and areas with pages.

pub(crate) mod area_pages;
pub(crate) mod areas;
pub(crate) mod page_table;
pub(crate) mod vm_struct;
pub(crate) mod vmap;
pub(crate) mod vmap_tree;
