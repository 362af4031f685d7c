/* Scopes, in which requests are masked. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_SCHED_MM_H
#define KVROUTE_LINUX_SCHED_MM_H

#include <linux/kvroute_at.h>

void kvroute_nofs_save(void);
void kvroute_nofs_restore(void);
void kvroute_noio_save(void);
void kvroute_noio_restore(void);

#define memalloc_nofs_save() (KVROUTE_HERE, kvroute_nofs_save(), 0u)
#define memalloc_nofs_restore(flags) ((void)(flags), KVROUTE_HERE, kvroute_nofs_restore())
#define memalloc_noio_save() (KVROUTE_HERE, kvroute_noio_save(), 0u)
#define memalloc_noio_restore(flags) ((void)(flags), KVROUTE_HERE, kvroute_noio_restore())

#endif
