// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A thousand callers of kvmalloc(), at other addresses each time that the module is loaded. */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#define ONE kvfree(kvmalloc(64, GFP_KERNEL));
#define TEN ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

/* Not in the function that starts it: what such a function asks for is forgotten with its text. */
static noinline void ask(void)
{
	THOUSAND
}

static int __init many_init(void)
{
	ask();
	return 0;
}

static void __exit many_exit(void)
{
}

module_init(many_init);
module_exit(many_exit);
MODULE_DESCRIPTION("More callers of kvmalloc() than a module has");
MODULE_LICENSE("Dual MIT/GPL");
