// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The book of who holds what: memory that kvmalloc() gave while the module was on, by its address.
 *
 * A book of fixed size, since it is written where nothing can be allocated. Who finds it full is
 * counted and not routed. Memory of slab that kfree_bulk() frees leaves its entry behind; the
 * entry goes when the address is given again.
 */
#include <linux/hash.h>
#include <linux/kmemleak.h>
#include <linux/module.h>

#include "kvroute.h"

/* Most buckets are empty, so that a free of other memory seldom looks further. */
#define HELD_BITS 17
#define NR_HELD (1u << HELD_BITS >> 2)

static struct hlist_head *buckets;
static struct kvr_held *entries;
static struct hlist_head unused;
static DEFINE_RAW_SPINLOCK(lock);

static struct hlist_head *bucket_of(const void *p)
{
	return &buckets[hash_ptr(p, HELD_BITS)];
}

static struct kvr_held *find(const void *p)
{
	struct kvr_held *held;

	hlist_for_each_entry(held, bucket_of(p), node)
		if (held->p == p)
			return held;
	return NULL;
}

/* A look without the lock, which nearly always says no: for every kfree() of the machine. */
bool notrace kvr_held_may(const void *p)
{
	return !ZERO_OR_NULL_PTR(p) && READ_ONCE(bucket_of(p)->first);
}

struct kvr_held *kvr_held_new(void)
{
	struct kvr_held *held = NULL;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	if (!hlist_empty(&unused)) {
		held = hlist_entry(unused.first, struct kvr_held, node);
		hlist_del(&held->node);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return held;
}

/* With the lock held. */
static void drop(struct kvr_held *held)
{
	held->p = NULL;
	hlist_add_head(&held->node, &unused);
}

void kvr_held_drop(struct kvr_held *held)
{
	unsigned long irq;

	if (!held)
		return;
	raw_spin_lock_irqsave(&lock, irq);
	drop(held);
	raw_spin_unlock_irqrestore(&lock, irq);
}

void kvr_held_put(struct kvr_held *held, const void *p)
{
	struct kvr_held *stale;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	stale = find(p);
	if (stale) {
		hlist_del(&stale->node);
		drop(stale);
	}
	held->p = p;
	held->is_settled = false;
	hlist_add_head(&held->node, bucket_of(p));
	raw_spin_unlock_irqrestore(&lock, irq);
}

bool kvr_held_find(const void *p, struct kvr_held *copy)
{
	struct kvr_held *held;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held)
		*copy = *held;
	raw_spin_unlock_irqrestore(&lock, irq);
	return held;
}

bool kvr_held_take(const void *p, struct kvr_held *copy)
{
	struct kvr_held *held;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held) {
		*copy = *held;
		hlist_del(&held->node);
		drop(held);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return held;
}

/*
 * It is freed after a grace period. Memory of slab then goes in bulk, which nobody sees, so its entry
 * goes now, and the answer is yes. Memory of vmalloc goes to vfree(), which must find it.
 */
bool kvr_held_settle(const void *p)
{
	struct kvr_held *held;
	bool is_gone = false;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held) {
		held->is_settled = true;
		is_gone = held->side == KVR_SLAB;
	}
	if (is_gone) {
		hlist_del(&held->node);
		drop(held);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_gone;
}

/* With the lock held: the memory that the address lies in or in the guard page behind. */
static bool find_around(unsigned long address, struct kvr_held *copy)
{
	bool is_found = false;
	unsigned int i;

	for (i = 0; i < NR_HELD && !is_found; i++) {
		struct kvr_held *held = &entries[i];
		unsigned long from = (unsigned long)held->area;

		is_found = held->p && held->side == KVR_VMALLOC && address >= from &&
			   address < from + PAGE_ALIGN(held->size) + PAGE_SIZE;
		if (is_found)
			*copy = *held;
	}
	return is_found;
}

bool kvr_held_around(unsigned long address, struct kvr_held *copy)
{
	unsigned long irq;
	bool is_found;

	raw_spin_lock_irqsave(&lock, irq);
	is_found = find_around(address, copy);
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_found;
}

/* Who oopses may hold the lock. */
bool kvr_held_around_in_oops(unsigned long address, struct kvr_held *copy)
{
	unsigned long irq;
	bool is_found;

	if (!raw_spin_trylock_irqsave(&lock, irq))
		return false;
	is_found = find_around(address, copy);
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_found;
}

/* What a module that goes away still holds is lost. */
void kvr_held_leaks(const struct module *gone)
{
	struct kvr_held copy;
	unsigned long irq;
	unsigned int i;

	for (i = 0; i < NR_HELD; i++) {
		bool is_lost;

		raw_spin_lock_irqsave(&lock, irq);
		copy = entries[i];
		is_lost = copy.p && !copy.is_settled && kvr_caller_is_of(copy.caller, gone);
		if (is_lost)
			entries[i].is_settled = true;
		raw_spin_unlock_irqrestore(&lock, irq);
		if (is_lost)
			kvr_report(KVR_LEAK, copy.p, &copy);
	}
}

/* Returns how many; only counts them without a file. */
unsigned long kvr_held_show(struct seq_file *m)
{
	unsigned long nr = 0, irq;
	struct kvr_held copy;
	unsigned int i;

	if (m)
		seq_puts(m, "# address size side request caller\n");
	for (i = 0; i < NR_HELD; i++) {
		raw_spin_lock_irqsave(&lock, irq);
		copy = entries[i];
		raw_spin_unlock_irqrestore(&lock, irq);
		if (!copy.p)
			continue;
		nr++;
		if (m)
			seq_printf(m, "0x%px %zu %s %lu %s\n", copy.p, copy.size,
				   copy.side == KVR_VMALLOC ? "vmalloc" : "slab", copy.nth,
				   copy.caller->name);
	}
	return nr;
}

int kvr_held_init(void)
{
	unsigned int i;

	buckets = vzalloc(array_size(1u << HELD_BITS, sizeof(*buckets)));
	entries = vzalloc(array_size(NR_HELD, sizeof(*entries)));
	if (!buckets || !entries) {
		kvr_held_exit();
		return -ENOMEM;
	}
	/* Memory that only the book knows is leaked. */
	kmemleak_no_scan(entries);
	for (i = 0; i < NR_HELD; i++)
		drop(&entries[i]);
	return 0;
}

void kvr_held_exit(void)
{
	vfree(buckets);
	vfree(entries);
}
