/* vmalloc. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_VMALLOC_H
#define KVROUTE_LINUX_VMALLOC_H

#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/types.h>

void *vmalloc(unsigned long size);
void *vzalloc(unsigned long size);
void *__vmalloc(unsigned long size, gfp_t flags);
void vfree(const void *p);

#define vmalloc(size) (KVROUTE_HERE, vmalloc(size))
#define vzalloc(size) (KVROUTE_HERE, vzalloc(size))
#define __vmalloc(size, flags) (KVROUTE_HERE, __vmalloc(size, flags))
#define vfree(p) (KVROUTE_HERE, vfree(p))

/* The kernel's functions for user space and for other nodes differ in nothing that is seen here. */
#define vmalloc_user(size) vzalloc(size)
#define vmalloc_node(size, node) vmalloc(size)
#define vzalloc_node(size, node) vzalloc(size)

#endif
