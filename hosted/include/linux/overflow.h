/* Sizes that do not wrap around. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_OVERFLOW_H
#define KVROUTE_LINUX_OVERFLOW_H

#include <linux/types.h>

#define check_add_overflow(a, b, sum) __builtin_add_overflow(a, b, sum)
#define check_mul_overflow(a, b, product) __builtin_mul_overflow(a, b, product)

static inline size_t size_mul(size_t a, size_t b)
{
	size_t product;

	return check_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static inline size_t size_add(size_t a, size_t b)
{
	size_t sum;

	return check_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

#define array_size(n, size) size_mul(n, size)
#define struct_size(p, member, n) size_add(sizeof(*(p)), size_mul(sizeof((p)->member[0]), n))

#endif
