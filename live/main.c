// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Loading and unloading, and what is to be known when other modules go. */
#include <linux/module.h>
#include <linux/panic.h>

#include "kvroute.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#error "kvroute knows kvmalloc of Linux 6.1 to 6.17; another version may ask and free otherwise"
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#error "kvroute does not know kvmalloc of Linux 6.10, which is called as in no other version"
#endif
#if !defined(CONFIG_DYNAMIC_FTRACE_WITH_REGS) || !defined(CONFIG_KPROBES)
#error "kvroute needs CONFIG_DYNAMIC_FTRACE_WITH_REGS and CONFIG_KPROBES"
#endif

/*
 * A module has run its exit function when it is told to be going. Once it lives, what only its start
 * needed is freed.
 */
static int on_module(struct notifier_block *block, unsigned long event, void *data)
{
	switch (event) {
	case MODULE_STATE_LIVE:
		kvr_callers_forget(data, within_module_init);
		break;
	case MODULE_STATE_GOING:
		kvr_held_leaks(data);
		kvr_callers_forget(data, within_module);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block module_block = { .notifier_call = on_module };

static int init_tables(void)
{
	int err = kvr_callers_init();

	if (err)
		return err;
	err = kvr_held_init();
	if (err)
		goto free_callers;
	err = kvr_record_init();
	if (err)
		goto free_held;
	return 0;

free_held:
	kvr_held_exit();
free_callers:
	kvr_callers_exit();
	return err;
}

static void exit_tables(void)
{
	kvr_record_exit();
	kvr_held_exit();
	kvr_callers_exit();
}

static int __init kvroute_init(void)
{
	int err = init_tables();

	if (err)
		return err;
	err = kvr_attach();
	if (err) {
		exit_tables();
		return err;
	}
	kvr_report_init();
	register_module_notifier(&module_block);
	kvr_files_init();
#ifdef TAINT_TEST
	add_taint(TAINT_TEST, LOCKDEP_STILL_OK);
#endif
	kvr_info("kvmalloc() is routed at random by a plan; %s\n",
		 kvr_is_on() ? "on" : "off until permille or fail is set");
	return 0;
}

static void __exit kvroute_exit(void)
{
	kvr_files_exit();
	unregister_module_notifier(&module_block);
	kvr_detach();
	kvr_free_exit();
	kvr_report_exit();
	kvr_info("gone; %lu requests still hold memory, which is freed as ever\n",
		 kvr_held_show(NULL));
	exit_tables();
}

module_init(kvroute_init);
module_exit(kvroute_exit);
MODULE_DESCRIPTION("Random routing of kvmalloc() in a running kernel");
MODULE_LICENSE("Dual MIT/GPL");
