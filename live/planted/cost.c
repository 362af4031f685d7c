// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What a kvmalloc() and kvfree() of 8 KiB cost: loading the module measures, and prints. */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#define NR_ROUNDS 20000

static int __init cost_init(void)
{
	u64 begin = ktime_get_ns();
	int i;

	for (i = 0; i < NR_ROUNDS; i++)
		kvfree(kvmalloc(8192, GFP_KERNEL));
	pr_info("cost: %llu\n", div_u64(ktime_get_ns() - begin, NR_ROUNDS));
	return 0;
}

static void __exit cost_exit(void)
{
}

module_init(cost_init);
module_exit(cost_exit);
MODULE_DESCRIPTION("The cost of a kvmalloc() and its kvfree()");
MODULE_LICENSE("Dual MIT/GPL");
