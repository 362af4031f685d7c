/* kmalloc and slab caches. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_SLAB_H
#define KVROUTE_LINUX_SLAB_H

#include <linux/compiler.h>
#include <linux/gfp.h>
#include <linux/types.h>

#define SLAB_HWCACHE_ALIGN ((slab_flags_t)0x2000)
#define SLAB_RECLAIM_ACCOUNT ((slab_flags_t)0x20000)
#define SLAB_PANIC ((slab_flags_t)0x40000)
#define SLAB_NOLEAKTRACE ((slab_flags_t)0x800000)
#define SLAB_ACCOUNT ((slab_flags_t)0x4000000)

#define ARCH_KMALLOC_MINALIGN 8
#define KMALLOC_MAX_SIZE (4ul << 20)
#define ZERO_SIZE_PTR ((void *)16)
#define ZERO_OR_NULL_PTR(p) ((unsigned long)(p) <= (unsigned long)ZERO_SIZE_PTR)

struct kmem_cache;
typedef void (*kvroute_ctor)(void *);

void *kmalloc(size_t size, gfp_t flags);
void *kzalloc(size_t size, gfp_t flags);
void *kmalloc_array(size_t n, size_t size, gfp_t flags);
void *kcalloc(size_t n, size_t size, gfp_t flags);
void *krealloc(const void *p, size_t size, gfp_t flags);
void kfree(const void *p);
void kfree_sensitive(const void *p);
size_t ksize(const void *p);
void *kvmalloc(size_t size, gfp_t flags);
void *kvzalloc(size_t size, gfp_t flags);
void *kvmalloc_array(size_t n, size_t size, gfp_t flags);
void *kvcalloc(size_t n, size_t size, gfp_t flags);
void *kvrealloc(const void *p, size_t old, size_t size, gfp_t flags);
void kvfree(const void *p);
void kvfree_sensitive(const void *p, size_t len);
struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align, slab_flags_t flags, kvroute_ctor ctor);
void kmem_cache_destroy(struct kmem_cache *cache);
void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags);
void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t flags);
void kmem_cache_free(struct kmem_cache *cache, void *object);
unsigned int kmem_cache_size(struct kmem_cache *cache);

#define kmalloc(size, flags) (KVROUTE_HERE, kmalloc(size, flags))
#define kzalloc(size, flags) (KVROUTE_HERE, kzalloc(size, flags))
#define kmalloc_array(n, size, flags) (KVROUTE_HERE, kmalloc_array(n, size, flags))
#define kcalloc(n, size, flags) (KVROUTE_HERE, kcalloc(n, size, flags))
#define krealloc(p, size, flags) (KVROUTE_HERE, krealloc(p, size, flags))
#define kfree(p) (KVROUTE_HERE, kfree(p))
#define kfree_sensitive(p) (KVROUTE_HERE, kfree_sensitive(p))
#define ksize(p) (KVROUTE_HERE, ksize(p))
#define kvmalloc(size, flags) (KVROUTE_HERE, kvmalloc(size, flags))
#define kvzalloc(size, flags) (KVROUTE_HERE, kvzalloc(size, flags))
#define kvmalloc_array(n, size, flags) (KVROUTE_HERE, kvmalloc_array(n, size, flags))
#define kvcalloc(n, size, flags) (KVROUTE_HERE, kvcalloc(n, size, flags))
#define kvrealloc(p, old, size, flags) (KVROUTE_HERE, kvrealloc(p, old, size, flags))
#define kvfree(p) (KVROUTE_HERE, kvfree(p))
#define kvfree_sensitive(p, len) (KVROUTE_HERE, kvfree_sensitive(p, len))
#define kmem_cache_create(name, size, align, flags, ctor) (KVROUTE_HERE, kmem_cache_create(name, size, align, flags, ctor))
#define kmem_cache_destroy(cache) (KVROUTE_HERE, kmem_cache_destroy(cache))
#define kmem_cache_alloc(cache, flags) (KVROUTE_HERE, kmem_cache_alloc(cache, flags))
#define kmem_cache_zalloc(cache, flags) (KVROUTE_HERE, kmem_cache_zalloc(cache, flags))
#define kmem_cache_free(cache, object) (KVROUTE_HERE, kmem_cache_free(cache, object))

#define kmalloc_node(size, flags, node) kmalloc(size, flags)
#define kzalloc_node(size, flags, node) kzalloc(size, flags)
#define kvmalloc_node(size, flags, node) kvmalloc(size, flags)
#define kzfree(p) kfree_sensitive(p)
#define KMEM_CACHE(type, flags) \
	kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), flags, NULL)

#endif
