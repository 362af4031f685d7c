// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Functions of ours before those of the kernel, by ftrace and without a change to its text.
 *
 * A hook looks at a call's arguments first and takes the call only where there is something to do,
 * so that a module that is off costs a look. What it takes is counted until it is done: a task may
 * sleep in a function of ours, and the module must not go before.
 */
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>

#include "kvroute.h"

struct kvr_hook {
	const char *name;
	void *ours;
	bool (*wants)(struct pt_regs *regs);
	bool is_needed;		/* without it the module would do harm or nothing */
	bool is_attached;
	struct ftrace_ops ops;
};

static atomic_t nr_inside = ATOMIC_INIT(0);

void kvr_leave(void)
{
	atomic_dec(&nr_inside);
}

static const void *notrace argument(struct pt_regs *regs, unsigned int n)
{
	return (const void *)regs_get_kernel_argument(regs, n);
}

static bool notrace wants_request(struct pt_regs *regs)
{
	return kvr_is_on() && !kvr_is_reader();
}

static bool notrace wants_held(struct pt_regs *regs)
{
	return kvr_held_may(argument(regs, 0));
}

static bool notrace wants_vmalloc(struct pt_regs *regs)
{
	return is_vmalloc_addr(argument(regs, 0));
}

static bool notrace wants_vmalloc_or_held(struct pt_regs *regs)
{
	return wants_vmalloc(regs) || wants_held(regs);
}

static bool notrace wants_rcu(struct pt_regs *regs)
{
	return kvr_held_may(kvr_rcu_memory(argument(regs, 0), argument(regs, 1)));
}

static bool notrace wants_page_of_vmalloc(struct pt_regs *regs)
{
	return is_vmalloc_addr(kvr_virt_of(argument(regs, 1)));
}

static bool notrace wants_list_of_vmalloc(struct pt_regs *regs)
{
	struct scatterlist *sg = (struct scatterlist *)argument(regs, 1);
	int nr_left = (int)regs_get_kernel_argument(regs, 2);

	for (; sg && nr_left > 0; sg = sg_next(sg), nr_left--)
		if (is_vmalloc_addr(kvr_virt_of(sg_page(sg))))
			return true;
	return false;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
static bool notrace wants_resize(struct pt_regs *regs)
{
	return wants_request(regs) || wants_held(regs);
}
#endif

static struct kvr_hook hooks[] = {
	/* Frees first: memory is routed only while all that free it are seen. */
	{ "kvfree", kvr_kvfree, wants_held, .is_needed = true },
	{ "kfree", kvr_kfree, wants_vmalloc_or_held, .is_needed = true },
	{ "vfree", kvr_vfree, wants_held, .is_needed = true },
	{ "kfree_sensitive", kvr_kfree_sensitive, wants_vmalloc_or_held, .is_needed = true },
	{ "kvfree_call_rcu", kvr_kvfree_rcu, wants_rcu },
	{ "ksize", kvr_ksize, wants_vmalloc },
	{ "dma_map_page_attrs", kvr_dma_map_page, wants_page_of_vmalloc },
	{ "dma_map_sg_attrs", kvr_dma_map_sg, wants_list_of_vmalloc },
	{ "bio_add_page", kvr_bio_add_page, wants_page_of_vmalloc },
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	{ "kvrealloc_noprof", kvr_kvrealloc, wants_resize, .is_needed = true },
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	{ "krealloc_noprof", kvr_krealloc, wants_vmalloc_or_held, .is_needed = true },
	{ "__kvmalloc_node_noprof", kvr_kvmalloc, wants_request, .is_needed = true },
#else
	{ "krealloc", kvr_krealloc, wants_vmalloc_or_held, .is_needed = true },
	{ "kvmalloc_node", kvr_kvmalloc, wants_request, .is_needed = true },
#endif
};

static void notrace enter(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
			  struct ftrace_regs *fregs)
{
	struct kvr_hook *hook = ops->private;
	struct pt_regs *regs = ftrace_get_regs(fregs);

	if (!regs || within_module(parent, THIS_MODULE) || !hook->wants(regs))
		return;
	atomic_inc(&nr_inside);
	instruction_pointer_set(regs, (unsigned long)hook->ours);
}

/* kallsyms is not for modules, but a probe on a name tells its address. */
static unsigned long address_of(const char *name)
{
	struct kprobe probe = { .symbol_name = name };
	unsigned long address;

	if (register_kprobe(&probe))
		return 0;
	address = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	return address;
}

static int attach(struct kvr_hook *hook)
{
	unsigned long address = address_of(hook->name);
	int err;

	if (!address)
		return -ENOENT;
	hook->ops.func = enter;
	hook->ops.private = hook;
	hook->ops.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY |
			  FTRACE_OPS_FL_RECURSION;
	err = ftrace_set_filter_ip(&hook->ops, address, 0, 0);
	if (err)
		/* The place that ftrace changes may stand behind an endbr. */
		err = ftrace_set_filter_ip(&hook->ops, address + 4, 0, 0);
	if (!err)
		err = register_ftrace_function(&hook->ops);
	if (err)
		ftrace_free_filter(&hook->ops);
	hook->is_attached = !err;
	return err;
}

/* The last of a call of ours: the tasks that were in one have left the module's text. */
static void wait_for_all_to_leave(void)
{
	while (atomic_read(&nr_inside))
		msleep(20);
	synchronize_rcu_tasks();
	synchronize_rcu();
}

void kvr_detach(void)
{
	int i;

	for (i = ARRAY_SIZE(hooks) - 1; i >= 0; i--) {
		if (!hooks[i].is_attached)
			continue;
		unregister_ftrace_function(&hooks[i].ops);
		ftrace_free_filter(&hooks[i].ops);
		hooks[i].is_attached = false;
	}
	wait_for_all_to_leave();
}

int kvr_attach(void)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		err = attach(&hooks[i]);
		if (!err)
			continue;
		kvr_warn("%s() cannot be replaced (%d: %s)%s\n", hooks[i].name, err,
			 err == -ENOENT ? "no such function, or no probe on it" :
			 err == -EBUSY ? "a live patch or another tool has it" : "ftrace refuses",
			 hooks[i].is_needed ? "; not loaded" : "; what it does is not judged");
		if (hooks[i].is_needed) {
			kvr_detach();
			return err;
		}
	}
	return 0;
}
