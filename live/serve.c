// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What is done for a request: the plan's route where it can be taken, else the kernel's own way. */
#include <linux/module.h>

#include "kvroute.h"

static bool fill(struct kvr_held *held, size_t size, gfp_t flags)
{
	kvr_who_calls(&held->who);
	held->caller = kvr_caller_of(&held->who.stack);
	if (!held->caller)
		return false;
	atomic_long_inc(&held->caller->nr_requests);
	held->nth = atomic_long_inc_return(&held->caller->nr_planned);
	held->size = size;
	held->flags = flags;
	return true;
}

/*
 * Where the last page has room, the memory may stand at its end: the first byte behind is then in
 * the guard page. Such memory is freed by functions of ours alone, so it keeps the module loaded.
 */
static const void *by_vmalloc(struct kvr_held *held)
{
	size_t whole = PAGE_ALIGN(held->size);
	size_t room = whole - ALIGN(held->size, ARCH_KMALLOC_MINALIGN);

	if (!room || !kvr_plan_wants_edge() || !try_module_get(THIS_MODULE)) {
		held->area = __vmalloc(held->size, held->flags);
		return held->area;
	}
	/* KASAN lets nobody use more of the last page than was asked for. */
	held->area = __vmalloc(whole, held->flags);
	if (held->area)
		return held->area + room;
	module_put(THIS_MODULE);
	return NULL;
}

/* No harder than kvmalloc() itself tries: there is another way, so nobody need be killed for it. */
static const void *by_slab(const struct kvr_held *held, int node)
{
	gfp_t flags = held->flags | __GFP_NOWARN;

	if (held->size > PAGE_SIZE && !(flags & __GFP_RETRY_MAYFAIL))
		flags |= __GFP_NORETRY;
	return kmalloc_node(held->size, flags, node);
}

static const void *serve(struct kvr_held *held, enum kvr_route route, int node)
{
	held->area = NULL;
	switch (route) {
	case KVR_BY_VMALLOC:
		return by_vmalloc(held);
	case KVR_BY_SLAB:
		return by_slab(held, node);
	default:
		return NULL;
	}
}

static void enter_in_book(struct kvr_held *held, const void *p, enum kvr_route route)
{
	struct kvr_caller *caller = held->caller;

	if (!held->area)
		held->area = p;
	held->side = is_vmalloc_addr(p) ? KVR_VMALLOC : KVR_SLAB;
	atomic_long_inc(held->side == KVR_VMALLOC ? &caller->nr_vmalloc : &caller->nr_slab);
	kvr_count(route == KVR_POLICY ? KVR_NR_BY_POLICY :
		  held->side == KVR_VMALLOC ? KVR_NR_BY_VMALLOC : KVR_NR_BY_SLAB);
	held->p = p;
	kvr_record_serve(held, route);
	kvr_held_put(held, p);
}

static void *refuse(struct kvr_held *held)
{
	atomic_long_inc(&held->caller->nr_failed);
	kvr_count(KVR_NR_FAILED);
	kvr_record_refuse(held);
	kvr_held_drop(held);
	return NULL;
}

static void *serve_request(KVR_KVMALLOC_PARAMS)
{
	struct kvr_held *held = kvr_held_new();
	enum kvr_route route;
	const void *p;

	kvr_count(KVR_NR_REQUESTS);
	if (!held || !fill(held, size, flags)) {
		kvr_count(KVR_NR_UNTRACKED);
		kvr_held_drop(held);
		return KVR_KVMALLOC_ORIGINAL();
	}
	route = kvr_plan_route(held->caller, held->nth, size, flags);
	if (route == KVR_FAILS)
		return refuse(held);
	p = serve(held, route, node);
	if (!p) {
		route = KVR_POLICY;
		p = KVR_KVMALLOC_ORIGINAL();
	}
	if (ZERO_OR_NULL_PTR(p)) {
		kvr_count(KVR_NR_REFUSED);
		kvr_held_drop(held);
	} else {
		enter_in_book(held, p, route);
	}
	return (void *)p;
}

void *kvr_kvmalloc(KVR_KVMALLOC_PARAMS)
{
	void *p = serve_request(KVR_KVMALLOC_PASS(size, b), flags, node);

	kvr_leave();
	return p;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
static void *move(const void *p, size_t size, gfp_t flags)
{
	void *moved = serve_request(KVR_KVMALLOC_PASS(size, NULL), flags, NUMA_NO_NODE);
	struct kvr_held held;

	if (ZERO_OR_NULL_PTR(moved) || !kvr_held_find(p, &held))
		return moved;
	memcpy(moved, p, min(size, held.size));
	if (kvr_free_in_book(p, KVR_KVFREE, &held) == KVR_HELD)
		kvr_give_back(&held);
	return moved;
}

/*
 * Since 6.12 kvrealloc() goes to krealloc() or vrealloc() by what the memory is, and the latter does
 * not know memory at the end of a page. It may always move, so here it always does.
 * Memory of slab is the kernel's own from here on: slab knows its size better than the book.
 */
void *kvr_kvrealloc(const void *p, size_t size, gfp_t flags)
{
	struct kvr_held held;
	bool is_known = kvr_held_find(p, &held);
	void *moved = NULL;

	if (size && (!p || (is_known && held.side == KVR_VMALLOC))) {
		moved = move(p, size, flags);
	} else if (!kvr_tell_if_freed(p)) {
		kvr_let_go(p);
		moved = kvrealloc_noprof(p, size, flags);
	}
	kvr_leave();
	return moved;
}
#endif
