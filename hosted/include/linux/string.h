/* Strings, and copies of them. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_STRING_H
#define KVROUTE_LINUX_STRING_H

#include <string.h>
#include <linux/slab.h>

static inline void *kvroute_copy(void *to, const void *from, size_t len)
{
	return to ? memcpy(to, from, len) : NULL;
}

#define kmemdup(from, len, flags) kvroute_copy(kmalloc(len, flags), from, len)
#define kvmemdup(from, len, flags) kvroute_copy(kvmalloc(len, flags), from, len)
#define kstrdup(from, flags) ((char *)kmemdup(from, strlen(from) + 1, flags))

#endif
