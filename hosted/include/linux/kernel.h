/* What every file uses. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_KERNEL_H
#define KVROUTE_LINUX_KERNEL_H

#include <stdio.h>
#include <asm/byteorder.h>
#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))
#define ALIGN(x, to) (((x) + ((__typeof__(x))(to) - 1)) & ~((__typeof__(x))(to) - 1))
#define IS_ALIGNED(x, to) (((x) & ((__typeof__(x))(to) - 1)) == 0)
#define DIV_ROUND_UP(n, by) (((n) + (by) - 1) / (by))
#define min(a, b) \
	({ \
		__typeof__(a) kvroute_a = (a); \
		__typeof__(b) kvroute_b = (b); \
		kvroute_a < kvroute_b ? kvroute_a : kvroute_b; \
	})
#define max(a, b) \
	({ \
		__typeof__(a) kvroute_a = (a); \
		__typeof__(b) kvroute_b = (b); \
		kvroute_a > kvroute_b ? kvroute_a : kvroute_b; \
	})
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))

#define KERN_ERR
#define KERN_WARNING
#define KERN_INFO
#define printk(...) fprintf(stderr, __VA_ARGS__)
#define pr_err(...) fprintf(stderr, __VA_ARGS__)
#define pr_warn(...) fprintf(stderr, __VA_ARGS__)
#define pr_info(...) fprintf(stderr, __VA_ARGS__)
#define pr_debug(...) ((void)0)
#define might_sleep() ((void)0)

#endif
