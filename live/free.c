// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls that free or resize memory. What does not fit the memory is reported, then done rightly,
 * so that the system goes on and the next mistake can be found.
 */
#include <linux/kallsyms.h>
#include <linux/kmemleak.h>
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

	llist_for_each_safe(area, next, llist_del_all(&later)) {
		kvr_held_no_longer_put_off(area);
		vfree(area);
	}
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

/* We put off what vfree() would, too: until the area goes to it, a second free can be told. */
static bool must_put_off(void)
{
	return in_interrupt() || !may_vfree();
}

static void free_area(const void *area)
{
	if (!must_put_off())
		vfree(area);
	else if (llist_add((struct llist_node *)area, &later))
		schedule_work(&later_work);
}

/*
 * A vmalloc() that fails frees its area, which was never mapped: no second free, though the address
 * be that of an area which was freed before.
 */
static bool is_of_failed_vmalloc(const struct kvr_stack *by)
{
	char name[KSYM_SYMBOL_LEN];

	if (!by->nr)
		return false;
	sprint_symbol(name, by->entries[0]);
	return str_has_prefix(name, "__vmalloc");
}

/* A free, entered in the book. One of memory that is free already is told of, and must not be done. */
enum kvr_found kvr_free_in_book(const void *p, enum kvr_free call, struct kvr_held *held)
{
	struct kvr_freed by = { .is_put_off = must_put_off() }, before;
	enum kvr_found found;

	if (!kvr_held_knows(p))
		return KVR_UNKNOWN;
	kvr_who_calls(&by.who);
	found = kvr_held_free(p, &by, held, &before);
	if (found == KVR_HELD) {
		kvr_record_free(p, call, &by.who.stack);
	} else if (found == KVR_FREED && call == KVR_VFREE && is_of_failed_vmalloc(&by.who.stack)) {
		kvr_held_forget_freed(p);
		found = KVR_UNKNOWN;
	} else if (found == KVR_FREED) {
		kvr_report_again(held, &before);
	}
	return found;
}

/* The same of a call that would free or resize it later or elsewhere. */
bool kvr_tell_if_freed(const void *p)
{
	struct kvr_freed before;
	struct kvr_held held;

	if (!kvr_held_was_freed(p, &held, &before))
		return false;
	kvr_report_again(&held, &before);
	return true;
}

/* Frees what a caller held, whichever way it was served; or keeps it back, and frees older memory. */
void kvr_give_back(const struct kvr_held *held)
{
	const void *ripe;

	if (held->side == KVR_VMALLOC) {
		free_area(held->area);
		if (held->area != held->p)
			module_put(THIS_MODULE);
	} else if (!held->freed) {
		kfree(held->p);
	} else {
		kmemleak_ignore(held->p);
	}
	while ((ripe = kvr_held_ripe()))
		kfree(ripe);
}

static void judge_context(const void *p, const struct kvr_held *held)
{
	if (held->side == KVR_VMALLOC && !may_vfree() && !oops_in_progress)
		kvr_report(KVR_CONTEXT, p, held);
}

void kvr_kvfree(const void *p)
{
	struct kvr_held held;

	switch (kvr_free_in_book(p, KVR_KVFREE, &held)) {
	case KVR_HELD:
		judge_context(p, &held);
		kvr_give_back(&held);
		break;
	case KVR_UNKNOWN:
		kvfree(p);
		break;
	case KVR_FREED:
		break;
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
	struct kvr_stack by;

	kvr_report(rule, p, held);
	if (held) {
		kvr_give_back(held);
		return;
	}
	kvr_stack_save(&by, 1);
	kvr_record_free(p, KVR_KFREE, &by);
	if (!must_put_off())
		vfree(p);
}

void kvr_kfree(const void *p)
{
	struct kvr_held held;
	enum kvr_found found = kvr_free_in_book(p, KVR_KFREE, &held);

	if (found == KVR_FREED) {
		kvr_leave();
		return;
	}
	if (is_vmalloc_addr(p)) {
		free_misused(KVR_KFREE_VMALLOC, p, found == KVR_HELD ? &held : NULL);
	} else if (found == KVR_HELD) {
		/* Right for this memory. Whether its caller had looked cannot be seen. */
		kvr_count(KVR_NR_LATENT);
		kvr_give_back(&held);
	} else {
		kfree(p);
	}
	kvr_leave();
}

/*
 * What kfree_sensitive() does, before the book knows that the memory is free: from then on another
 * processor may free what is kept back. KASAN has nothing kept back, and lets only what was asked
 * for be written.
 */
static void clear(const void *p)
{
	struct kvr_held held;
	bool is_rounded = !is_vmalloc_addr(p) && !IS_ENABLED(CONFIG_KASAN);

	if (kvr_held_find(p, &held))
		memzero_explicit((void *)p, is_rounded ? ksize(p) : held.size);
}

void kvr_kfree_sensitive(const void *p)
{
	struct kvr_held held;
	enum kvr_found found;

	clear(p);
	found = kvr_free_in_book(p, KVR_KFREE, &held);
	if (found == KVR_FREED) {
		kvr_leave();
		return;
	}
	if (is_vmalloc_addr(p)) {
		free_misused(KVR_SENSITIVE_VMALLOC, p, found == KVR_HELD ? &held : NULL);
	} else if (found == KVR_HELD && held.freed) {
		kvr_give_back(&held);
	} else {
		kfree_sensitive(p);
	}
	kvr_leave();
}

void kvr_vfree(const void *p)
{
	struct kvr_held held;

	switch (kvr_free_in_book(p, KVR_VFREE, &held)) {
	case KVR_HELD:
		if (held.side == KVR_SLAB)
			kvr_report(KVR_VFREE_SLAB, p, &held);
		judge_context(p, &held);
		kvr_give_back(&held);
		break;
	case KVR_UNKNOWN:
		vfree(p);
		break;
	case KVR_FREED:
		break;
	}
	kvr_leave();
}

/* Memory that from here on is somebody else's business: the kernel frees it where nobody sees it. */
void kvr_let_go(const void *p)
{
	struct kvr_stack by;

	if (!kvr_held_settle(p))
		return;
	kvr_stack_save(&by, 1);
	kvr_record_free(p, KVR_KVFREE, &by);
}

void kvr_kvfree_rcu(struct rcu_head *head, void *second)
{
	const void *p = kvr_rcu_memory(head, second);

	if (!kvr_tell_if_freed(p)) {
		kvr_let_go(p);
		kvfree_call_rcu(head, second);
	}
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
	if (moved && kvr_free_in_book(p, KVR_KFREE, &held) == KVR_HELD)
		kvr_give_back(&held);
	return moved;
}

/* krealloc() of memory of slab. */
static void *resize(const void *p, size_t size, gfp_t flags)
{
	struct kvr_held held;
	struct kvr_stack by;
	void *moved = krealloc(p, size, flags);

	/*
	 * What was kvmalloc's is kmalloc's from here on, and no business of ours. If it moved,
	 * kfree() has seen it, and p may by now be somebody else's.
	 */
	if (moved == p && kvr_held_take(p, &held)) {
		kvr_count(KVR_NR_LATENT);
		kvr_stack_save(&by, 1);
		kvr_record_free(p, KVR_KFREE, &by);
	}
	return moved;
}

void *kvr_krealloc(const void *p, size_t size, gfp_t flags)
{
	void *moved = NULL;

	if (!kvr_tell_if_freed(p))
		moved = is_vmalloc_addr(p) ? resize_misused(p, size, flags) :
					     resize(p, size, flags);
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
