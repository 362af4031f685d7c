// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Memory on its way to a device: it must be physically contiguous, and memory of vmalloc is not.
 *
 * virt_to_page() is inlined, and of memory of vmalloc it makes a page that is none. But it is
 * arithmetic, so it can be undone when such a page comes along: the address tells whose it was.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>

#include "kvroute.h"

const void *notrace kvr_virt_of(const struct page *page)
{
	return __va((phys_addr_t)page_to_pfn(page) << PAGE_SHIFT);
}

static void report(enum kvr_rule rule, const void *p)
{
	struct kvr_held held;
	bool is_known = kvr_held_around((unsigned long)p, &held);

	kvr_report(rule, p, is_known ? &held : NULL);
}

/* Refused as dma_map_single() refuses it, which looks at the address itself. */
dma_addr_t kvr_dma_map_page(struct device *dev, struct page *page, size_t offset, size_t size)
{
	report(KVR_DMA_VMALLOC, kvr_virt_of(page) + offset);
	kvr_leave();
	return DMA_MAPPING_ERROR;
}

/* No entry is mapped. */
unsigned int kvr_dma_map_sg(struct device *dev, struct scatterlist *sg, int nents)
{
	for (; sg && nents > 0; sg = sg_next(sg), nents--)
		if (is_vmalloc_addr(kvr_virt_of(sg_page(sg))))
			report(KVR_DMA_VMALLOC, kvr_virt_of(sg_page(sg)) + sg->offset);
	kvr_leave();
	return 0;
}

/* Nothing is added, as to a bio that is full. */
int kvr_bio_add_page(struct bio *bio, struct page *page, unsigned int len, unsigned int offset)
{
	report(KVR_PAGE_OF_VMALLOC, kvr_virt_of(page) + offset);
	kvr_leave();
	return 0;
}
