// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The book of who holds what: memory that kvmalloc() gave while the module was on, by its address.
 *
 * A book of fixed size, since it is written where nothing can be allocated. Who finds it full is
 * counted and not routed. Memory of slab that kfree_bulk() frees leaves its entry behind; the
 * entry goes when the address is given again.
 *
 * What is freed stays in the book for a while, and who frees it once more is told of: but only if
 * nobody can have been given the address since. An area of vmalloc that is gone is mapped no more;
 * memory of slab is kept back so long, a little of it.
 */
#include <linux/hash.h>
#include <linux/kfence.h>
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

/* The last that were freed, in a ring; half of it is for those that come before room is made. */
#define NR_FREED 2048u
static struct kvr_freed freed[NR_FREED];
static unsigned int nr_freed, nr_forgotten;

/* How much memory of slab is kept back, and how much of it one request may be. */
#define KEPT_BYTES (1u << 20)
#define KEPT_BYTES_OF_ONE (KEPT_BYTES >> 4)
static size_t kept_bytes;

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
static struct kvr_held *find_live(const void *p)
{
	struct kvr_held *held = find(p);

	return held && !held->freed ? held : NULL;
}

/* With the lock held. */
static void drop(struct kvr_held *held)
{
	if (held->freed) {
		held->freed->held = NULL;
		held->freed = NULL;
		if (held->side == KVR_SLAB)
			kept_bytes -= held->size;
	}
	held->p = NULL;
	hlist_add_head(&held->node, &unused);
}

/* With the lock held. */
static void forget(struct kvr_held *held)
{
	hlist_del(&held->node);
	drop(held);
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
	if (stale)
		forget(stale);
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
	held = find_live(p);
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
	held = find_live(p);
	if (held) {
		*copy = *held;
		forget(held);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return held;
}

/* KASAN and KFENCE know of frees themselves, and would find less in memory that is not yet free. */
static bool may_keep(const struct kvr_held *held)
{
	return held->size <= KEPT_BYTES_OF_ONE && !IS_ENABLED(CONFIG_KASAN) &&
	       !is_kfence_address(held->p);
}

/* With the lock held. NULL if it is not remembered, and so not kept back either. */
static struct kvr_freed *remember(struct kvr_held *held, const struct kvr_freed *by)
{
	struct kvr_freed *place = &freed[nr_freed % NR_FREED];

	if (nr_freed - nr_forgotten == NR_FREED || (held->side == KVR_SLAB && !may_keep(held))) {
		forget(held);
		return NULL;
	}
	nr_freed++;
	*place = *by;
	place->held = held;
	held->freed = place;
	if (held->side == KVR_SLAB)
		kept_bytes += held->size;
	return place;
}

/*
 * With the lock held. Whoever has been given the address of an area since has it mapped, while this
 * free is on its way. No area begins in the midst of a page but those of ours.
 */
static bool is_free(const struct kvr_held *held)
{
	return held->side == KVR_SLAB || held->freed->is_put_off || held->area != held->p ||
	       !vmalloc_to_page(held->p);
}

/* Whether the book has it, held or freed: most that come here are a neighbour's in the bucket. */
bool kvr_held_knows(const void *p)
{
	unsigned long irq;
	bool is_known;

	raw_spin_lock_irqsave(&lock, irq);
	is_known = find(p);
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_known;
}

/* The address is another's now, so its last free is remembered no more. */
void kvr_held_forget_freed(const void *p)
{
	struct kvr_held *held;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held && held->freed)
		forget(held);
	raw_spin_unlock_irqrestore(&lock, irq);
}

/* With the lock held. */
static bool was_freed(struct kvr_held *held, struct kvr_held *copy, struct kvr_freed *before)
{
	if (!held || !held->freed)
		return false;
	if (!is_free(held)) {
		forget(held);
		return false;
	}
	*copy = *held;
	*before = *held->freed;
	return true;
}

bool kvr_held_was_freed(const void *p, struct kvr_held *copy, struct kvr_freed *before)
{
	unsigned long irq;
	bool is_so;

	raw_spin_lock_irqsave(&lock, irq);
	is_so = was_freed(find(p), copy, before);
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_so;
}

/* The copy of memory that was held has `freed` set if the memory is kept back, or is remembered. */
enum kvr_found kvr_held_free(const void *p, const struct kvr_freed *by, struct kvr_held *copy,
			     struct kvr_freed *before)
{
	enum kvr_found found = KVR_UNKNOWN;
	struct kvr_held *held;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held && !held->freed) {
		found = KVR_HELD;
		*copy = *held;
		copy->freed = remember(held, by);
	} else if (was_freed(held, copy, before)) {
		found = KVR_FREED;
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return found;
}

/* The area is about to go to vfree(), and then to anybody. */
void kvr_held_no_longer_put_off(const void *p)
{
	struct kvr_held *held;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	held = find(p);
	if (held && held->freed)
		held->freed->is_put_off = false;
	raw_spin_unlock_irqrestore(&lock, irq);
}

/* Memory of slab that has been kept back for long enough, to be freed; NULL if there is none. */
const void *kvr_held_ripe(void)
{
	const void *p = NULL;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	while (!p && (nr_freed - nr_forgotten > NR_FREED / 2 || kept_bytes > KEPT_BYTES)) {
		struct kvr_held *held = freed[nr_forgotten++ % NR_FREED].held;

		if (!held)
			continue;
		if (held->side == KVR_SLAB)
			p = held->p;
		forget(held);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return p;
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
	held = find_live(p);
	if (held) {
		held->is_settled = true;
		is_gone = held->side == KVR_SLAB;
	}
	if (is_gone)
		forget(held);
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

		is_found = held->p && !held->freed && held->side == KVR_VMALLOC &&
			   address >= from && address < from + PAGE_ALIGN(held->size) + PAGE_SIZE;
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
		is_lost = copy.p && !copy.freed && !copy.is_settled && kvr_caller_is_of(copy.caller, gone);
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
		if (!copy.p || copy.freed)
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

/* When nothing comes to the book any more. */
void kvr_held_exit(void)
{
	unsigned int i;

	for (i = 0; i < NR_FREED; i++)
		if (freed[i].held && freed[i].held->side == KVR_SLAB)
			kfree(freed[i].held->p);
	vfree(buckets);
	vfree(entries);
}
