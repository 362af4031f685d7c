/* GFP flags, as in Linux 6.1; `hosted` tests that they are those of the harness. Part of kvroute;
 * MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_GFP_H
#define KVROUTE_LINUX_GFP_H

#include <linux/kvroute_at.h>
#include <linux/types.h>

#define GFP_HIGHUSER_MOVABLE ((gfp_t)0x100ccau)
#define GFP_HIGHUSER ((gfp_t)0x100cc2u)
#define GFP_USER ((gfp_t)0x100cc0u)
#define GFP_KERNEL_ACCOUNT ((gfp_t)0x400cc0u)
#define GFP_KERNEL ((gfp_t)0xcc0u)
#define GFP_NOFS ((gfp_t)0xc40u)
#define GFP_NOIO ((gfp_t)0xc00u)
#define GFP_ATOMIC ((gfp_t)0xa20u)
#define GFP_NOWAIT ((gfp_t)0x800u)
#define __GFP_RECLAIM ((gfp_t)0xc00u)
#define __GFP_DMA ((gfp_t)0x1u)
#define __GFP_HIGHMEM ((gfp_t)0x2u)
#define __GFP_DMA32 ((gfp_t)0x4u)
#define __GFP_MOVABLE ((gfp_t)0x8u)
#define __GFP_RECLAIMABLE ((gfp_t)0x10u)
#define __GFP_HIGH ((gfp_t)0x20u)
#define __GFP_IO ((gfp_t)0x40u)
#define __GFP_FS ((gfp_t)0x80u)
#define __GFP_ZERO ((gfp_t)0x100u)
#define __GFP_ATOMIC ((gfp_t)0x200u)
#define __GFP_DIRECT_RECLAIM ((gfp_t)0x400u)
#define __GFP_KSWAPD_RECLAIM ((gfp_t)0x800u)
#define __GFP_WRITE ((gfp_t)0x1000u)
#define __GFP_NOWARN ((gfp_t)0x2000u)
#define __GFP_RETRY_MAYFAIL ((gfp_t)0x4000u)
#define __GFP_NOFAIL ((gfp_t)0x8000u)
#define __GFP_NORETRY ((gfp_t)0x10000u)
#define __GFP_MEMALLOC ((gfp_t)0x20000u)
#define __GFP_COMP ((gfp_t)0x40000u)
#define __GFP_NOMEMALLOC ((gfp_t)0x80000u)
#define __GFP_HARDWALL ((gfp_t)0x100000u)
#define __GFP_THISNODE ((gfp_t)0x200000u)
#define __GFP_ACCOUNT ((gfp_t)0x400000u)

unsigned long __get_free_pages(gfp_t flags, unsigned int order);
void free_pages(unsigned long addr, unsigned int order);

#define __get_free_pages(flags, order) (KVROUTE_HERE, __get_free_pages(flags, order))
#define __get_free_page(flags) __get_free_pages(flags, 0)
#define get_zeroed_page(flags) __get_free_pages((flags) | __GFP_ZERO, 0)
#define free_pages(addr, order) (KVROUTE_HERE, free_pages(addr, order))
#define free_page(addr) free_pages(addr, 0)

#endif
