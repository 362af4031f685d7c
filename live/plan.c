// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The plan: which requests are decided, and how. It is the module's parameters, so a plan is one
 * line, can be given when the module is loaded and changed while it runs, and repeats what it did:
 * a decision depends on the seed, on the caller's name and on the number of the caller's request,
 * not on what other tasks do meanwhile.
 */
#include <linux/ctype.h>
#include <linux/glob.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "kvroute.h"

static uint permille;

static int permille_set(const char *text, const struct kernel_param *param)
{
	return param_set_uint_minmax(text, param, 0, 1000);
}

static const struct kernel_param_ops permille_ops = {
	.set = permille_set, .get = param_get_uint,
};
module_param_cb(permille, &permille_ops, &permille, 0600);
MODULE_PARM_DESC(permille, "share of the requests that are decided here; 0 is off");

static ulong seed = 1;
module_param(seed, ulong, 0600);
MODULE_PARM_DESC(seed, "which of them");

static ulong size_min = PAGE_SIZE + 1, size_max = INT_MAX;
module_param(size_min, ulong, 0600);
MODULE_PARM_DESC(size_min, "smallest request in bytes; Linux itself uses vmalloc above a page");
module_param(size_max, ulong, 0600);
MODULE_PARM_DESC(size_max, "largest request in bytes");

static ulong first = 1, last = ULONG_MAX;
module_param(first, ulong, 0600);
MODULE_PARM_DESC(first, "first request of each caller, from 1");
module_param(last, ulong, 0600);
MODULE_PARM_DESC(last, "last request of each caller");

static ulong fail;
module_param(fail, ulong, 0600);
MODULE_PARM_DESC(fail, "this request of each caller fails; 0 is none");

static bool edge;
module_param(edge, bool, 0600);
MODULE_PARM_DESC(edge, "memory of vmalloc ends where its last page ends");

static enum kvr_route route = KVR_BY_VMALLOC;
static const char *const route_names[] = {
	[KVR_POLICY] = "policy", [KVR_BY_SLAB] = "slab", [KVR_BY_VMALLOC] = "vmalloc",
};

static int route_set(const char *text, const struct kernel_param *param)
{
	int found = sysfs_match_string(route_names, text);

	if (found < 0)
		return found;
	route = found;
	return 0;
}

static int route_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%s\n", route_names[route]);
}

static const struct kernel_param_ops route_ops = { .set = route_set, .get = route_get };
module_param_cb(route, &route_ops, NULL, 0600);
MODULE_PARM_DESC(route, "vmalloc, slab, or policy (watch only)");

/* Patterns of callers' names, with commas between them. */
#define CALLERS_LEN 3072
static char callers[CALLERS_LEN] = "*";
#define PATTERN_LEN (sizeof(((struct kvr_caller *)0)->name) + 7)
static DEFINE_RAW_SPINLOCK(callers_lock);

/* What no name of a caller can fit is refused: a pattern that is empty, too long, or has blanks. */
static bool are_patterns(const char *text, size_t len)
{
	size_t len_of_one = 0, i;

	for (i = 0; i < len; i++) {
		if (isspace(text[i]) || (text[i] == ',' && !len_of_one))
			return false;
		len_of_one = text[i] == ',' ? 0 : len_of_one + 1;
		if (len_of_one > PATTERN_LEN)
			return false;
	}
	return len_of_one;
}

static int callers_set(const char *text, const struct kernel_param *param)
{
	size_t len = strcspn(text, "\n");	/* with which echo ends */
	unsigned long irq;

	if (len >= CALLERS_LEN)
		return -ENOSPC;
	if (!are_patterns(text, len))
		return -EINVAL;
	raw_spin_lock_irqsave(&callers_lock, irq);
	memcpy(callers, text, len);
	callers[len] = '\0';
	raw_spin_unlock_irqrestore(&callers_lock, irq);
	kvr_callers_choose();
	return 0;
}

static int callers_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%s\n", callers);
}

static const struct kernel_param_ops callers_ops = { .set = callers_set, .get = callers_get };
module_param_cb(callers, &callers_ops, NULL, 0600);
MODULE_PARM_DESC(callers, "patterns of callers, as ext4:* or vmlinux:alloc_fdtable+0x*");

bool kvr_is_on(void)
{
	return READ_ONCE(permille) || READ_ONCE(fail);
}

bool kvr_plan_wants_edge(void)
{
	return READ_ONCE(edge);
}

bool kvr_plan_names(const char *name)
{
	char pattern[PATTERN_LEN + 1];
	const char *from, *comma;
	bool is_named = false;
	unsigned long irq;

	raw_spin_lock_irqsave(&callers_lock, irq);
	for (from = callers; *from && !is_named; from = *comma ? comma + 1 : comma) {
		comma = strchrnul(from, ',');
		strscpy(pattern, from, min_t(size_t, sizeof(pattern), comma - from + 1));
		is_named = glob_match(pattern, name);
	}
	raw_spin_unlock_irqrestore(&callers_lock, irq);
	return is_named;
}

/* A mix of three numbers, good enough that shares come out as asked for. */
static u64 draw(u64 a, u64 b, u64 c)
{
	u64 x = a * 0x9e3779b97f4a7c15ULL + (b << 32 | b) + c * 0xd1b54a32d192ed03ULL;

	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

/*
 * What vmalloc may serve: the caller may sleep, wants no special memory and no node above all, and is
 * not the one who frees memory for others. NOFS and NOIO are no reason against it since 5.17.
 */
static bool is_legal(size_t size, gfp_t flags)
{
	return size && size <= INT_MAX && gfpflags_allow_blocking(flags) &&
	       !(flags & (__GFP_DMA | __GFP_DMA32 | __GFP_MOVABLE | __GFP_THISNODE)) &&
	       !in_interrupt() && !in_atomic() && !irqs_disabled() && !(current->flags & PF_MEMALLOC);
}

enum kvr_route kvr_plan_route(struct kvr_caller *caller, unsigned long nth, size_t size, gfp_t flags)
{
	if (!READ_ONCE(caller->is_chosen) || nth < first || nth > last)
		return KVR_POLICY;
	if (nth == READ_ONCE(fail) && !(flags & __GFP_NOFAIL))
		return KVR_FAILS;
	if (size < size_min || size > size_max || draw(seed, caller->hash, nth) % 1000 >= permille)
		return KVR_POLICY;
	if (!is_legal(size, flags)) {
		kvr_count(KVR_NR_NOT_LEGAL);
		return KVR_POLICY;
	}
	/* Large blocks that must not fail are not asked for: the kernel warns, and may wait for ever. */
	if (route == KVR_BY_SLAB && size > (flags & __GFP_NOFAIL ? PAGE_SIZE : KMALLOC_MAX_SIZE))
		return KVR_POLICY;
	return route;
}
