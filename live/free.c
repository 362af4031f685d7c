// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls that free or resize memory. What does not fit the memory is reported, then done rightly,
 * so that the system goes on and the next mistake can be found.
 */
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "kvroute.h"

/* Areas that were freed where vfree() must not be called; the links lie in them. */
static LLIST_HEAD(later);

static void free_later(struct work_struct *work)
{
	struct llist_node *area, *next;

	llist_for_each_safe(area, next, llist_del_all(&later))
		vfree(area);
}

static DECLARE_WORK(later_work, free_later);

/* vfree() sleeps, except in an interrupt, where it puts the work off by itself. */
static bool may_vfree(void)
{
	if (in_interrupt())
		return true;
#ifdef CONFIG_PREEMPT_RCU
	if (rcu_preempt_depth())
		return false;
#endif
	return !in_atomic() && !irqs_disabled();
}

static void free_area(const void *area)
{
	if (may_vfree()) {
		vfree(area);
	} else if (llist_add((struct llist_node *)area, &later)) {
		schedule_work(&later_work);
	}
}

/* Frees what a caller held, whichever way it was served. */
void kvr_give_back(const struct kvr_held *held)
{
	if (held->side == KVR_SLAB) {
		kfree(held->p);
		return;
	}
	free_area(held->area);
	if (held->area != held->p)
		module_put(THIS_MODULE);
}

static void judge_context(const void *p, const struct kvr_held *held)
{
	if (held->side == KVR_VMALLOC && !may_vfree() && !oops_in_progress)
		kvr_report(KVR_CONTEXT, p, held);
}

void kvr_kvfree(const void *p)
{
	struct kvr_held held;

	if (kvr_held_take(p, &held)) {
		judge_context(p, &held);
		kvr_record_free(p, KVR_KVFREE);
		kvr_give_back(&held);
	} else {
		kvfree(p);
	}
	kvr_leave();
}

/*
 * Memory of vmalloc that a call is given which is for slab: reported and freed. What is not in the book
 * may be freed already, so nothing is written there: where it cannot be freed at once, it is left.
 * In an interrupt vfree() writes a link there itself.
 */
static void free_misused(enum kvr_rule rule, const void *p, const struct kvr_held *held)
{
	kvr_report(rule, p, held);
	kvr_record_free(p, KVR_KFREE);
	if (held)
		kvr_give_back(held);
	else if (may_vfree() && !in_interrupt())
		vfree(p);
}

void kvr_kfree(const void *p)
{
	struct kvr_held held;
	bool is_known = kvr_held_take(p, &held);

	if (is_vmalloc_addr(p)) {
		free_misused(KVR_KFREE_VMALLOC, p, is_known ? &held : NULL);
	} else {
		/* Right for this memory. Whether its caller had looked cannot be seen. */
		if (is_known) {
			kvr_count(KVR_NR_LATENT);
			kvr_record_free(p, KVR_KFREE);
		}
		kfree(p);
	}
	kvr_leave();
}

void kvr_kfree_sensitive(const void *p)
{
	struct kvr_held held;
	bool is_known = kvr_held_take(p, &held);

	if (is_vmalloc_addr(p)) {
		if (is_known)
			memzero_explicit((void *)p, held.size);
		free_misused(KVR_SENSITIVE_VMALLOC, p, is_known ? &held : NULL);
	} else {
		if (is_known)
			kvr_record_free(p, KVR_KFREE);
		kfree_sensitive(p);
	}
	kvr_leave();
}

void kvr_vfree(const void *p)
{
	struct kvr_held held;

	if (kvr_held_take(p, &held)) {
		if (held.side == KVR_SLAB)
			kvr_report(KVR_VFREE_SLAB, p, &held);
		judge_context(p, &held);
		kvr_record_free(p, KVR_VFREE);
		kvr_give_back(&held);
	} else {
		vfree(p);
	}
	kvr_leave();
}

void kvr_kvfree_rcu(struct rcu_head *head, void *second)
{
	const void *p = kvr_rcu_memory(head, second);

	if (kvr_held_settle(p))
		kvr_record_free(p, KVR_KVFREE);
	kvfree_call_rcu(head, second);
	kvr_leave();
}

/* krealloc() of memory of vmalloc: its size is known only if it is in the book. */
static void *resize_misused(const void *p, size_t size, gfp_t flags)
{
	struct kvr_held held;
	void *moved;

	if (!kvr_held_find(p, &held)) {
		kvr_report(KVR_KREALLOC_VMALLOC, p, NULL);
		return NULL;
	}
	kvr_report(KVR_KREALLOC_VMALLOC, p, &held);
	moved = kmalloc(size, flags);
	if (!ZERO_OR_NULL_PTR(moved))
		memcpy(moved, p, min(size, held.size));
	if (moved && kvr_held_take(p, &held)) {
		kvr_record_free(p, KVR_KFREE);
		kvr_give_back(&held);
	}
	return moved;
}

void *kvr_krealloc(const void *p, size_t size, gfp_t flags)
{
	struct kvr_held held;
	void *moved;

	if (is_vmalloc_addr(p)) {
		moved = resize_misused(p, size, flags);
	} else {
		moved = krealloc(p, size, flags);
		/*
		 * What was kvmalloc's is kmalloc's from here on, and no business of ours. If it moved,
		 * kfree() has seen it, and p may by now be somebody else's.
		 */
		if (moved == p && kvr_held_take(p, &held)) {
			kvr_count(KVR_NR_LATENT);
			kvr_record_free(p, KVR_KFREE);
		}
	}
	kvr_leave();
	return moved;
}

size_t kvr_ksize(const void *p)
{
	struct kvr_held held;
	bool is_known = kvr_held_find(p, &held);

	kvr_report(KVR_KSIZE_VMALLOC, p, is_known ? &held : NULL);
	kvr_leave();
	return is_known ? held.size : 0;
}

void kvr_free_exit(void)
{
	flush_work(&later_work);
}
