/* Pages and addresses. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_MM_H
#define KVROUTE_LINUX_MM_H

#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/types.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define PAGE_ALIGN(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)
#define offset_in_page(p) ((unsigned long)(p) & ~PAGE_MASK)

/* A page is known by its number alone. */
struct page;

u64 kvroute_virt_to_pfn(const void *p);
u64 kvroute_vmalloc_to_pfn(const void *p);
bool is_vmalloc_addr(const void *p);

#define is_vmalloc_addr(p) (KVROUTE_HERE, is_vmalloc_addr(p))
#define pfn_to_page(pfn) ((struct page *)(((pfn) + 1) << 6))
#define page_to_pfn(page) (((unsigned long)(page) >> 6) - 1)
#define virt_to_page(p) pfn_to_page((KVROUTE_HERE, kvroute_virt_to_pfn(p)))
#define vmalloc_to_page(p) pfn_to_page((KVROUTE_HERE, kvroute_vmalloc_to_pfn(p)))
#define virt_to_phys(p) (((KVROUTE_HERE, kvroute_virt_to_pfn(p)) << PAGE_SHIFT) + offset_in_page(p))

#include <linux/sched/mm.h>

#endif
