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

static struct kvr_caller *callers;
static unsigned int nr_callers;
/* For each address the number of its caller, from 1. Entries of modules that are gone stay. */
static struct { unsigned long ip; u32 index; } *slots;
static DEFINE_RAW_SPINLOCK(lock);

/* Functions that pass a request on: who called them is who asks. */
static const char *const wrappers[] = { "kvrealloc", "kvmemdup", "kvmalloc", "vmemdup_user" };

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
	caller->ip = ip;
}

static unsigned int slot_of(unsigned long ip)
{
	unsigned int slot = hash_long(ip, CALLERS_BITS);

	while (READ_ONCE(slots[slot].ip) && slots[slot].ip != ip)
		slot = (slot + 1) % NR_CALLERS;
	return slot;
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

static struct kvr_caller *enter(unsigned long ip, const struct kvr_caller *named)
{
	struct kvr_caller *caller = NULL;
	unsigned int slot;
	unsigned long irq;

	raw_spin_lock_irqsave(&lock, irq);
	slot = slot_of(ip);
	if (slots[slot].ip == ip && slots[slot].index) {
		caller = &callers[slots[slot].index - 1];
		goto out;
	}
	caller = revive(named);
	/* A quarter stays empty, so that a search ends soon. */
	if (!caller && nr_callers < NR_CALLERS - NR_CALLERS / 4) {
		caller = &callers[nr_callers];
		*caller = *named;
		nr_callers++;
	}
	if (!caller)
		goto out;
	WRITE_ONCE(caller->ip, ip);
	slots[slot].index = caller - callers + 1;
	smp_wmb(); /* A slot with an address has its caller. */
	WRITE_ONCE(slots[slot].ip, ip);
out:
	raw_spin_unlock_irqrestore(&lock, irq);
	return caller;
}

static struct kvr_caller *caller_at(unsigned long ip)
{
	struct kvr_caller named = {};
	unsigned int slot = slot_of(ip);

	if (READ_ONCE(slots[slot].ip) == ip) {
		smp_rmb(); /* Pairs with the entering of a slot. */
		if (slots[slot].index && READ_ONCE(callers[slots[slot].index - 1].ip) == ip)
			return &callers[slots[slot].index - 1];
	}
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
	for (i = 0; callers && i < READ_ONCE(nr_callers); i++) {
		WRITE_ONCE(callers[i].is_chosen, kvr_plan_names(callers[i].name));
		atomic_long_set(&callers[i].nr_planned, 0);
	}
}

/* Other code may come to lie where a module was. */
void kvr_callers_forget(const struct module *gone)
{
	unsigned long irq;
	unsigned int i;

	raw_spin_lock_irqsave(&lock, irq);
	for (i = 0; i < NR_CALLERS; i++)
		if (slots[i].index && within_module(slots[i].ip, gone)) {
			WRITE_ONCE(callers[slots[i].index - 1].ip, 0);
			slots[i].index = 0;
		}
	raw_spin_unlock_irqrestore(&lock, irq);
}

void kvr_callers_show(struct seq_file *m)
{
	unsigned int i;

	seq_puts(m, "# requests vmalloc slab failed reports caller\n");
	for (i = 0; i < READ_ONCE(nr_callers); i++) {
		struct kvr_caller *caller = &callers[i];

		if (!caller->is_wrapper)
			seq_printf(m, "%ld %ld %ld %ld %ld %s\n",
				   atomic_long_read(&caller->nr_requests),
				   atomic_long_read(&caller->nr_vmalloc),
				   atomic_long_read(&caller->nr_slab),
				   atomic_long_read(&caller->nr_failed),
				   atomic_long_read(&caller->nr_reports), caller->name);
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
