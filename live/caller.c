// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who asks: the address to which a request returns, and its name, which is the same on every boot
 * of the same kernel. Looked up without a lock; a new one is entered under one.
 */
#include <linux/hash.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/string.h>

#include "kvroute.h"

#define CALLERS_BITS 11
#define NR_CALLERS (1u << CALLERS_BITS)

/* Where a request returns to, and the number of its caller, from 1. */
struct slot {
	unsigned long ip;
	u32 index;
};

static struct kvr_caller *callers;
static unsigned int nr_callers;
static struct slot *slots;
static unsigned int nr_slots;	/* taken: a quarter stays empty, so that a search ends soon */
static DEFINE_RAW_SPINLOCK(lock);

/* Functions that pass a request on: who called them is who asks. */
static const char *const wrappers[] = { "kvrealloc", "kvr_kvrealloc", "kvmemdup", "kvmalloc",
					"vmemdup_user" };

static bool is_wrapper(const char *function)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(wrappers); i++)
		if (str_has_prefix(function, wrappers[i]))
			return true;
	return false;
}

/* "ext4_fill_super+0x12/0x80 [ext4]" becomes "ext4:ext4_fill_super+0x12". */
static void name_caller(struct kvr_caller *caller, unsigned long ip)
{
	char symbol[KSYM_SYMBOL_LEN];
	char *module, *slash, *function = symbol;
	int len;

	sprint_symbol(symbol, ip);
	module = strstr(symbol, " [");
	if (module) {
		*module = '\0';
		module += 2;
		module[strcspn(module, " ]")] = '\0';
	}
	slash = strchr(function, '/');
	if (slash)
		*slash = '\0';
	len = scnprintf(caller->name, sizeof(caller->name), "%s:%s", module ?: "vmlinux", function);
	caller->hash = hash_32(full_name_hash(NULL, caller->name, len), 32);
	caller->is_wrapper = is_wrapper(function);
	caller->is_chosen = kvr_plan_names(caller->name);
}

/* Without the lock. NULL also if somebody changes the slot meanwhile. */
static struct kvr_caller *known(unsigned long ip)
{
	unsigned int at = hash_long(ip, CALLERS_BITS);
	unsigned long there;
	u32 index;

	while ((there = READ_ONCE(slots[at].ip)) && there != ip)
		at = (at + 1) % NR_CALLERS;
	smp_rmb(); /* An index goes before its address, and comes after it. */
	index = READ_ONCE(slots[at].index);
	smp_rmb();
	return index && READ_ONCE(slots[at].ip) == ip ? &callers[index - 1] : NULL;
}

/* With the lock held: the slot of an address, or the empty one where it belongs. */
static struct slot *slot_for(unsigned long ip)
{
	unsigned int at = hash_long(ip, CALLERS_BITS);

	while (slots[at].ip && slots[at].ip != ip)
		at = (at + 1) % NR_CALLERS;
	return &slots[at];
}

/* With the lock held. Who reads the slot meanwhile finds no caller in it. */
static void set_slot(struct slot *slot, unsigned long ip, u32 index)
{
	WRITE_ONCE(slot->index, 0);
	smp_wmb(); /* Pairs with the two of known(). */
	WRITE_ONCE(slot->ip, ip);
	smp_store_release(&slot->index, index);
}

/* With the lock held: what was put further on, since this slot was taken, moves up. */
static void empty_slot(unsigned int at)
{
	unsigned int next = at, home;

	while (next = (next + 1) % NR_CALLERS, slots[next].ip) {
		home = hash_long(slots[next].ip, CALLERS_BITS);
		if ((next - home) % NR_CALLERS < (next - at) % NR_CALLERS)
			continue;
		set_slot(&slots[at], slots[next].ip, slots[next].index);
		at = next;
	}
	set_slot(&slots[at], 0, 0);
	nr_slots--;
}

/* The caller of a module that was loaded again goes on where it was. */
static struct kvr_caller *revive(const struct kvr_caller *named)
{
	unsigned int i;

	for (i = 0; i < nr_callers; i++)
		if (!strcmp(callers[i].name, named->name))
			return &callers[i];
	return NULL;
}

static struct kvr_caller *add(const struct kvr_caller *named)
{
	struct kvr_caller *caller = &callers[nr_callers];

	if (nr_callers == NR_CALLERS)
		return NULL;
	*caller = *named;
	smp_store_release(&nr_callers, nr_callers + 1);
	return caller;
}

static struct kvr_caller *enter(unsigned long ip, const struct kvr_caller *named)
{
	struct kvr_caller *caller = NULL;
	struct slot *slot;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	slot = slot_for(ip);
	if (slot->ip)
		caller = &callers[slot->index - 1];
	else if (nr_slots < NR_CALLERS - NR_CALLERS / 4)
		caller = revive(named) ?: add(named);
	if (caller && !slot->ip) {
		nr_slots++;
		set_slot(slot, ip, caller - callers + 1);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return caller;
}

static struct kvr_caller *caller_at(unsigned long ip)
{
	struct kvr_caller *caller = known(ip), named = {};

	if (caller)
		return caller;
	name_caller(&named, ip);
	return enter(ip, &named);
}

struct kvr_caller *kvr_caller_of(const struct kvr_stack *stack)
{
	struct kvr_caller *caller = NULL;
	unsigned int i;

	for (i = 0; i < stack->nr; i++) {
		caller = caller_at(stack->entries[i]);
		if (!caller || !caller->is_wrapper)
			break;
	}
	return caller;
}

/* A plan counts requests from when it is given, or it could not be given twice. */
void kvr_callers_choose(void)
{
	unsigned int i;

	/* The parameters are read before there is a table. */
	for (i = 0; callers && i < smp_load_acquire(&nr_callers); i++) {
		WRITE_ONCE(callers[i].is_chosen, kvr_plan_names(callers[i].name));
		atomic_long_set(&callers[i].nr_planned, 0);
	}
}

/* By the name: where the function lay may be gone before its module is. */
bool kvr_caller_is_of(const struct kvr_caller *caller, const struct module *module)
{
	size_t len = strlen(module->name);

	return !strncmp(caller->name, module->name, len) && caller->name[len] == ':';
}

/* Other code may come to lie where a module, or what only its start needed, was. */
void kvr_callers_forget(const struct module *module,
			bool (*is_gone)(unsigned long ip, const struct module *module))
{
	unsigned long irq;
	unsigned int i;

	raw_spin_lock_irqsave(&lock, irq);
	for (i = 0; i < NR_CALLERS; i++)
		while (slots[i].ip && is_gone(slots[i].ip, module))
			empty_slot(i);
	raw_spin_unlock_irqrestore(&lock, irq);
}

void kvr_callers_show(struct seq_file *m)
{
	unsigned int i;

	seq_puts(m, "# requests vmalloc slab failed reports planned caller\n");
	for (i = 0; i < smp_load_acquire(&nr_callers); i++) {
		struct kvr_caller *caller = &callers[i];

		if (!caller->is_wrapper)
			seq_printf(m, "%ld %ld %ld %ld %ld %ld %s\n",
				   atomic_long_read(&caller->nr_requests),
				   atomic_long_read(&caller->nr_vmalloc),
				   atomic_long_read(&caller->nr_slab),
				   atomic_long_read(&caller->nr_failed),
				   atomic_long_read(&caller->nr_reports),
				   caller->is_chosen ? atomic_long_read(&caller->nr_planned) : 0,
				   caller->name);
	}
}

int kvr_callers_init(void)
{
	callers = vzalloc(array_size(NR_CALLERS, sizeof(*callers)));
	slots = vzalloc(array_size(NR_CALLERS, sizeof(*slots)));
	if (callers && slots)
		return 0;
	kvr_callers_exit();
	return -ENOMEM;
}

void kvr_callers_exit(void)
{
	vfree(callers);
	vfree(slots);
	callers = NULL;
	slots = NULL;
}
