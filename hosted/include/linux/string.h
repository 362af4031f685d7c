/* Strings, and copies of them. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_STRING_H
#define KVROUTE_LINUX_STRING_H

#include <string.h>
#include <linux/slab.h>

static inline void *kvroute_copy(void *to, const void *from, size_t len)
{
	return to ? memcpy(to, from, len) : NULL;
}

#define kvroute_dup(alloc, from, len, flags) ({ \
	const void *kv_from = (from); \
	size_t kv_len = (len); \
	kvroute_copy(alloc(kv_len, flags), kv_from, kv_len); })
#define kmemdup(from, len, flags) kvroute_dup(kmalloc, from, len, flags)
#define kvmemdup(from, len, flags) kvroute_dup(kvmalloc, from, len, flags)
#define kstrdup(from, flags) ({ \
	const char *kv_text = (from); \
	kv_text ? (char *)kmemdup(kv_text, strlen(kv_text) + 1, flags) : NULL; })

#endif
