/* Memory that is freed when a grace period ends. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_RCUPDATE_H
#define KVROUTE_LINUX_RCUPDATE_H

#include <linux/kvroute_at.h>
#include <linux/types.h>

void kvroute_kfree_rcu(void *p, size_t head);
void kvroute_kvfree_rcu(void *p, size_t head);
void synchronize_rcu(void);

#define kfree_rcu(p, field) \
	(KVROUTE_HERE, kvroute_kfree_rcu(p, offsetof(__typeof__(*(p)), field)))
#define kvfree_rcu(p, field) \
	(KVROUTE_HERE, kvroute_kvfree_rcu(p, offsetof(__typeof__(*(p)), field)))
#define synchronize_rcu() (KVROUTE_HERE, synchronize_rcu())

#define rcu_read_lock() ((void)0)
#define rcu_read_unlock() ((void)0)
#define rcu_dereference(p) (p)
#define rcu_assign_pointer(p, v) ((p) = (v))

#endif
