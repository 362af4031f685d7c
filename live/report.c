// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Mistakes: each pair of stacks is told once, into the log, and counted from then on. */
#include <linux/hash.h>
#include <linux/jhash.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/stacktrace.h>
#ifdef CONFIG_X86
#include <asm/special_insns.h>
#endif

#include "kvroute.h"

static const struct { const char *name, *what; } rules[KVR_NR_RULES] = {
	[KVR_KFREE_VMALLOC] = { "kfree-of-vmalloc", "kfree() of memory that vmalloc served" },
	[KVR_VFREE_SLAB] = { "vfree-of-slab", "vfree() of memory that slab served" },
	[KVR_SENSITIVE_VMALLOC] = { "kfree-sensitive-of-vmalloc",
				    "kfree_sensitive() of memory that vmalloc served" },
	[KVR_KREALLOC_VMALLOC] = { "krealloc-of-vmalloc", "krealloc() of memory that vmalloc served" },
	[KVR_KSIZE_VMALLOC] = { "ksize-of-vmalloc", "ksize() of memory that vmalloc served" },
	[KVR_DMA_VMALLOC] = { "dma-of-vmalloc", "memory that vmalloc served is mapped for a device" },
	[KVR_PAGE_OF_VMALLOC] = { "page-of-vmalloc",
				  "virt_to_page() of memory that vmalloc served" },
	[KVR_CONTEXT] = { "context", "memory that vmalloc served is freed where nobody may sleep" },
	[KVR_AGAIN] = { "double-free", "memory that was freed is freed again" },
	[KVR_BEYOND] = { "beyond-the-end", "an access beyond the end of memory" },
	[KVR_LEAK] = { "leak", "memory is still held when its module goes" },
};

struct told {
	u32 key;	/* of the rule and both stacks; 0 is none */
	enum kvr_rule rule;
	atomic_long_t nr;
	char caller[sizeof(((struct kvr_caller *)0)->name)];
};

#define NR_TOLD 256
static struct told told[NR_TOLD];
static DEFINE_RAW_SPINLOCK(lock);

/* No call of ours goes deeper than this before it saves a stack. */
#define OWN_DEPTH 5

/* The stack of who called the function that we stand before, `depth` frames of it at most. */
void kvr_stack_save(struct kvr_stack *stack, unsigned int depth)
{
	unsigned long all[KVR_DEPTH + OWN_DEPTH];
	unsigned int nr = stack_trace_save(all, depth + OWN_DEPTH, 1);
	unsigned int skip = 0;

	while (skip < nr && within_module(all[skip], THIS_MODULE))
		skip++;
	stack->nr = min(nr - skip, depth);
	memcpy(stack->entries, all + skip, stack->nr * sizeof(*all));
}

void kvr_who_calls(struct kvr_who *who)
{
	who->pid = task_pid_nr(current);
	memcpy(who->comm, current->comm, sizeof(who->comm));
	kvr_stack_save(&who->stack, KVR_DEPTH);
}

static void print_who(const char *did, const struct kvr_who *who)
{
	unsigned int i;

	kvr_warn("  %s %s/%d:\n", did, who->comm, who->pid);
	for (i = 0; i < who->stack.nr; i++)
		kvr_warn("    %pS\n", (void *)who->stack.entries[i]);
}

/* A mistake: who made it, and whose memory it was, as far as they are known. */
struct mistake {
	enum kvr_rule rule;
	const void *p;
	const struct kvr_held *held;
	const struct kvr_freed *before;		/* of a double free */
	struct kvr_who here;			/* no stack: it has no place where it happens */
};

static u32 mix(const struct kvr_stack *stack, u32 key)
{
	return jhash(stack->entries, stack->nr * sizeof(stack->entries[0]), key);
}

static u32 key_of(const struct mistake *mistake)
{
	u32 key = mix(&mistake->here.stack, mistake->rule);

	if (mistake->held)
		key = mix(&mistake->held->who.stack, key);
	if (mistake->before)
		key = mix(&mistake->before->who.stack, key);
	return key ?: 1;
}

/* Counts the report; true if it is the first of its kind. A full table tells no more. */
static bool is_new(enum kvr_rule rule, u32 key, const char *caller)
{
	bool is_first = false;
	unsigned long irq;
	unsigned int i;

	raw_spin_lock_irqsave(&lock, irq);
	for (i = 0; i < NR_TOLD && told[i].key && told[i].key != key; i++)
		;
	if (i < NR_TOLD) {
		is_first = !told[i].key;
		if (is_first) {
			told[i].rule = rule;
			strscpy(told[i].caller, caller, sizeof(told[i].caller));
			told[i].key = key;
		}
		atomic_long_inc(&told[i].nr);
	}
	raw_spin_unlock_irqrestore(&lock, irq);
	return is_first;
}

static void tell(const struct mistake *mistake)
{
	const struct kvr_held *held = mistake->held;

	kvr_warn("%s (rule %s)\n", rules[mistake->rule].what, rules[mistake->rule].name);
	if (held)
		kvr_warn("  0x%px of %zu bytes, request %lu of %s, flags %pGg\n", held->p,
			 held->size, held->nth, held->caller->name, &held->flags);
	else
		kvr_warn("  0x%px, no memory of kvmalloc since routing is on\n", mistake->p);
	if (mistake->here.stack.nr)
		print_who("here, in", &mistake->here);
	if (mistake->before)
		print_who("freed by", &mistake->before->who);
	if (held)
		print_who("asked for by", &held->who);
}

static void report(const struct mistake *mistake)
{
	const char *caller = "-";

	kvr_count(KVR_NR_REPORTED);
	if (mistake->held) {
		atomic_long_inc(&mistake->held->caller->nr_reports);
		caller = mistake->held->caller->name;
	}
	if (is_new(mistake->rule, key_of(mistake), caller))
		tell(mistake);
}

void kvr_report(enum kvr_rule rule, const void *p, const struct kvr_held *held)
{
	struct mistake mistake = { .rule = rule, .p = p, .held = held };

	if (rule != KVR_LEAK)
		kvr_who_calls(&mistake.here);
	report(&mistake);
}

void kvr_report_again(const struct kvr_held *held, const struct kvr_freed *before)
{
	struct mistake mistake = {
		.rule = KVR_AGAIN, .p = held->p, .held = held, .before = before,
	};

	kvr_who_calls(&mistake.here);
	report(&mistake);
}

void kvr_reports_show(struct seq_file *m)
{
	unsigned int i;

	seq_puts(m, "# times rule caller\n");
	for (i = 0; i < NR_TOLD && READ_ONCE(told[i].key); i++)
		seq_printf(m, "%ld %s %s\n", atomic_long_read(&told[i].nr),
			   rules[told[i].rule].name, told[i].caller);
}

#ifdef CONFIG_X86
/* An access behind memory ends in the guard page: says whose memory that was. */
static int on_die(struct notifier_block *block, unsigned long event, void *data)
{
	const struct die_args *args = data;
	unsigned long address = native_read_cr2();
	struct kvr_held held;
	struct mistake mistake = { .rule = KVR_BEYOND, .p = (void *)address, .held = &held };

	if (event != DIE_OOPS || !args->regs || !kvr_held_around_in_oops(address, &held) ||
	    address < (unsigned long)held.p + held.size)
		return NOTIFY_DONE;
	kvr_who_calls(&mistake.here);
	mistake.here.stack.nr = 1;
	mistake.here.stack.entries[0] = instruction_pointer(args->regs);
	report(&mistake);
	kvr_warn("  byte %lu of %zu was used\n", address - (unsigned long)held.p, held.size);
	return NOTIFY_DONE;
}

static struct notifier_block die_block = { .notifier_call = on_die };

int kvr_report_init(void)
{
	return register_die_notifier(&die_block);
}

void kvr_report_exit(void)
{
	unregister_die_notifier(&die_block);
}
#else
int kvr_report_init(void)
{
	return 0;
}

void kvr_report_exit(void)
{
}
#endif
