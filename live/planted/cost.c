// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a kvmalloc() and kvfree() of 8 KiB cost: loading the module measures, and prints the ns of
 * both. With a pause in us after each hundred, at which rate they come if somebody else has to keep up.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

static uint rounds = 20000;
module_param(rounds, uint, 0);
static uint pause;
module_param(pause, uint, 0);

static int __init cost_init(void)
{
	u64 begin = ktime_get_ns();
	uint i;

	for (i = 1; i <= rounds; i++) {
		kvfree(kvmalloc(8192, GFP_KERNEL));
		if (pause && i % 100 == 0)
			usleep_range(pause, pause);
	}
	pr_info("cost: %llu\n", div_u64(ktime_get_ns() - begin, rounds));
	return 0;
}

static void __exit cost_exit(void)
{
}

module_init(cost_init);
module_exit(cost_exit);
MODULE_DESCRIPTION("The cost of a kvmalloc() and its kvfree()");
MODULE_LICENSE("Dual MIT/GPL");
