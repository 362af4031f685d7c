// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Callers of kvmalloc() with a hidden assumption each, and their corrected twins: what kvroute must
 * find, and where it must be silent. Loading the module runs one of them, once:
 *
 *   insmod planted.ko assumption=kfree          insmod planted.ko assumption=kfree twin=1
 *
 * It fails with EIO where the caller itself sees that it was wrong. All but the last of the table
 * can be run on a kernel that has to live on; `slack` uses memory that is not its own.
 */
#include <linux/bio.h>
#include <linux/dma-mapping.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#define SIZE 9000

/* It knows the old size by itself since 6.12. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define KVREALLOC(p, old, size) kvrealloc(p, size, GFP_KERNEL)
#else
#define KVREALLOC(p, old, size) kvrealloc(p, old, size, GFP_KERNEL)
#endif

static char *assumption = "";
module_param(assumption, charp, 0);
static bool twin;
module_param(twin, bool, 0);

/* Memory of kvmalloc() is memory of kmalloc(). */
static noinline int plant_kfree(void)
{
	void *p = kvmalloc(SIZE, GFP_KERNEL);

	if (twin)
		kvfree(p);
	else
		kfree(p);
	return p ? 0 : -ENOMEM;
}

/* Memory of kvmalloc() is memory of vmalloc(). */
static noinline int plant_vfree(void)
{
	void *p = kvmalloc(SIZE, GFP_KERNEL);

	if (twin)
		kvfree(p);
	else
		vfree(p);
	return p ? 0 : -ENOMEM;
}

static int map_for(struct platform_device *device, void *p)
{
	dma_addr_t bus = dma_map_page(&device->dev, virt_to_page(p), offset_in_page(p), 512,
				      DMA_TO_DEVICE);

	if (dma_mapping_error(&device->dev, bus))
		return -EIO;
	dma_unmap_page(&device->dev, bus, 512, DMA_TO_DEVICE);
	return 0;
}

/* A device can be given memory of kvmalloc(). */
static noinline int plant_dma(void)
{
	struct platform_device *device = platform_device_register_simple("planted", -1, NULL, 0);
	void *p;
	int err;

	if (IS_ERR(device))
		return PTR_ERR(device);
	p = twin ? kmalloc(SIZE, GFP_KERNEL) : kvmalloc(SIZE, GFP_KERNEL);
	err = p ? map_for(device, p) : -ENOMEM;
	kvfree(p);
	platform_device_unregister(device);
	return err;
}

/* Memory of kvmalloc() has pages in the direct map. */
static noinline int plant_virt_to_page(void)
{
	struct bio_vec vec;
	struct bio bio;
	void *p = twin ? kmalloc(SIZE, GFP_KERNEL) : kvmalloc(SIZE, GFP_KERNEL);
	int nr_added;

	if (!p)
		return -ENOMEM;
	bio_init(&bio, NULL, &vec, 1, REQ_OP_WRITE);
	nr_added = bio_add_page(&bio, virt_to_page(p), 512, offset_in_page(p));
	bio_uninit(&bio);
	kvfree(p);
	return nr_added == 512 ? 0 : -EIO;
}

/* Memory is aligned to its size, as kmalloc() aligns powers of two: the low bits are for marks. */
static noinline int plant_alignment(void)
{
	const size_t size = 4 * PAGE_SIZE;
	void *blocks[8] = {};
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		blocks[i] = twin ? kmalloc(size, GFP_KERNEL) : kvmalloc(size, GFP_KERNEL);
		if (!IS_ALIGNED((unsigned long)blocks[i], size))
			err = -EIO;
	}
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		kvfree(blocks[i]);
	return err;
}

static struct page *page_of(void *p)
{
	return is_vmalloc_addr(p) ? vmalloc_to_page(p) : virt_to_page(p);
}

/* What follows the first page in memory follows it in frames. */
static noinline int plant_contiguity(void)
{
	const int nr_pages = 64;
	unsigned long *p = kvmalloc(nr_pages * PAGE_SIZE, GFP_KERNEL);
	int i, err = 0;

	if (!p)
		return -ENOMEM;
	for (i = 1; i < nr_pages && !twin; i++)
		if (page_of(p) + i != page_of((void *)p + i * PAGE_SIZE))
			err = -EIO;
	kvfree(p);
	return err;
}

/* Memory may be freed under a spinlock. */
static noinline int plant_context(void)
{
	static DEFINE_SPINLOCK(lock);
	void *p = kvmalloc(SIZE, GFP_KERNEL);

	spin_lock(&lock);
	if (!twin)
		kvfree(p);
	spin_unlock(&lock);
	if (twin)
		kvfree(p);
	return p ? 0 : -ENOMEM;
}

/* Memory of kvmalloc() grows by krealloc(). */
static noinline int plant_krealloc(void)
{
	void *p = kvmalloc(SIZE, GFP_KERNEL), *grown;

	if (!p)
		return -ENOMEM;
	memset(p, 7, SIZE);
	if (twin) {
		grown = KVREALLOC(p, SIZE, 2 * SIZE);
		if (grown && memchr_inv(grown, 7, SIZE))
			pr_warn("planted: WARNING: kvrealloc() has lost bytes\n");
		kvfree(grown ?: p);
	} else {
		grown = krealloc(p, 2 * SIZE, GFP_KERNEL);
		kfree(grown ?: p);
	}
	return grown ? 0 : -ENOMEM;
}

/* Requests do not fail, so the way out when one does was never walked. */
static noinline int plant_leak(void)
{
	void *parts[3] = {};
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(parts) && !err; i++) {
		parts[i] = kvmalloc(SIZE, GFP_KERNEL);
		if (!parts[i])
			err = -ENOMEM;
	}
	if (err && !twin)
		return err;
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		kvfree(parts[i]);
	return err;
}

/* One request of five is freed as what it need not be: for a shrink, which must name the third. */
static noinline int plant_third(void)
{
	void *p;
	int i;

	for (i = 1; i <= 5; i++) {
		p = kvmalloc(SIZE, GFP_KERNEL);
		if (i == 3 && !twin)
			kfree(p);
		else
			kvfree(p);
	}
	return 0;
}

/* What starts a module need not be cleaned up after. Its code is gone when the module goes. */
static noinline int __init plant_init_leak(void)
{
	void *p = kvmalloc(SIZE, GFP_KERNEL);

	if (twin)
		kvfree(p);
	return p ? 0 : -ENOMEM;
}

/* Memory that readers may still use is best not freed; kvfree_rcu() knows when. */
static noinline int plant_rcu_leak(void)
{
	struct whole { struct rcu_head rcu; char rest[SIZE]; } *p = kvmalloc(sizeof(*p), GFP_KERNEL);

	if (p && twin)
		kvfree_rcu(p, rcu);
	return p ? 0 : -ENOMEM;
}

/* Freeing twice, where vfree() cannot be called at once. Of slab it would hurt others. */
static noinline int plant_twice(void)
{
	static DEFINE_SPINLOCK(lock);
	void *p = kvmalloc(SIZE, GFP_KERNEL);

	if (twin || !is_vmalloc_addr(p)) {
		kvfree(p);
	} else {
		spin_lock(&lock);
		kfree(p);
		kfree(p);
		spin_unlock(&lock);
	}
	return p ? 0 : -ENOMEM;
}

static void free_again(int how, const void *p)
{
	switch (how) {
	case 0: kvfree(p); break;
	case 1: kfree(p); break;
	case 2: vfree(p); break;
	case 3: kfree_sensitive(p); break;
	case 4: (void)!krealloc(p, 0, GFP_KERNEL); break;
	case 5: kvfree_call_rcu(NULL, (void *)p); break;
	}
}

static void *ask_otherwise(const void *p)
{
	return is_vmalloc_addr(p) ? vmalloc(SIZE) : kmalloc(SIZE, GFP_KERNEL);
}

static void free_rightly(const void *p)
{
	if (is_vmalloc_addr(p))
		vfree(p);
	else
		kfree(p);
}

/*
 * Whether freed memory comes to who asks for it otherwise, and frees it rightly. Much is freed before
 * memory of slab comes to others, and an area's address is kept for a while.
 */
static bool is_given_again(const void *p)
{
	void *blocks[200];
	bool is_seen = false;
	int i;

	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		kvfree(kvmalloc(SIZE, GFP_KERNEL));
		vm_unmap_aliases();
		blocks[i] = ask_otherwise(p);
		is_seen |= blocks[i] == p;
	}
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		free_rightly(blocks[i]);
	return is_seen;
}

/* The kernel's own, which is not for modules; a probe on its name tells where it is. */
static struct vm_struct *get_area(size_t size)
{
	struct kprobe probe = { .symbol_name = "get_vm_area" };
	struct vm_struct *(*get)(unsigned long size, unsigned long flags);

	if (register_kprobe(&probe))
		return NULL;
	get = (void *)probe.addr;
	unregister_kprobe(&probe);
	return get(size, VM_ALLOC);
}

/* What a vmalloc() that fails does, under such a name: it frees an area that was never mapped. */
static noinline const void *__vmalloc_in_vain(size_t size)
{
	struct vm_struct *area = get_area(size);
	const void *p = area ? area->addr : NULL;

	vfree(p);
	return p;
}

/*
 * Whether a vmalloc() fails at the address of an area that was freed before, and lets go of it: the
 * next one gets it. No address of so much is kept for a processor.
 */
static bool is_freed_in_vain(void)
{
	const size_t size = 2 << 20;
	const void *p, *q, *r;

	vm_unmap_aliases();
	p = kvmalloc(size, GFP_KERNEL);
	OPTIMIZER_HIDE_VAR(p);
	kvfree(p);
	vm_unmap_aliases();
	q = __vmalloc_in_vain(size);
	vm_unmap_aliases();
	r = vmalloc(size);
	vfree(r);
	return !is_vmalloc_addr(p) || (p == q && p == r);
}

/* Memory of slab that is kept back is cleared before, if its last user wants that. */
static bool is_cleared(void)
{
	char *p = kvmalloc(SIZE, GFP_KERNEL);

	if (!p || is_vmalloc_addr(p)) {
		kvfree(p);
		return true;
	}
	memset(p, 7, SIZE);
	OPTIMIZER_HIDE_VAR(p);
	kfree_sensitive(p);
	OPTIMIZER_HIDE_VAR(p);
	return !memchr_inv(p, 0, SIZE);
}

/* Memory may be freed twice, by whichever call. Only for a kernel that does not carry it out. */
static noinline int plant_again(void)
{
	void *p = kvmalloc(SIZE, GFP_KERNEL);
	bool is_right;
	int how;

	kvfree(p);
	if (twin) {
		is_right = is_freed_in_vain() && is_given_again(p) && is_cleared();
		return is_right ? 0 : -EIO;
	}
	for (how = 0; how <= 5; how++) {
		p = kvmalloc(SIZE, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(p);
		kvfree(p);
		free_again(how, p);
	}
	return 0;
}

/* What kmalloc() rounds up to may be used. */
static noinline int plant_slack(void)
{
	const size_t asked = 5000, rounded = 8192;
	char *p = kvmalloc(asked, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	/* A compiler that knows what was asked for would see it coming. */
	OPTIMIZER_HIDE_VAR(p);
	memset(p, 1, twin ? asked : rounded);
	kvfree(p);
	return 0;
}

static const struct { const char *name; int (*run)(void); } plants[] __initconst = {
	{ "kfree", plant_kfree },
	{ "vfree", plant_vfree },
	{ "dma", plant_dma },
	{ "virt_to_page", plant_virt_to_page },
	{ "alignment", plant_alignment },
	{ "contiguity", plant_contiguity },
	{ "context", plant_context },
	{ "krealloc", plant_krealloc },
	{ "leak", plant_leak },
	{ "third", plant_third },
	{ "init_leak", plant_init_leak },
	{ "rcu_leak", plant_rcu_leak },
	{ "twice", plant_twice },
	{ "again", plant_again },
	{ "slack", plant_slack },
};

static int __init planted_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(plants); i++)
		if (!strcmp(plants[i].name, assumption))
			return plants[i].run();
	return -EINVAL;
}

static void __exit planted_exit(void)
{
}

module_init(planted_init);
module_exit(planted_exit);
MODULE_DESCRIPTION("Callers of kvmalloc() with hidden assumptions");
MODULE_LICENSE("Dual MIT/GPL");
