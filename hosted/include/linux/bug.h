/* What must not be. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_BUG_H
#define KVROUTE_LINUX_BUG_H

#include <stdio.h>
#include <stdlib.h>
#include <linux/compiler.h>

#define BUG() abort()
#define BUG_ON(condition) \
	do { \
		if (unlikely(condition)) \
			BUG(); \
	} while (0)
#define WARN_ON(condition) \
	({ \
		int kvroute_warns = !!(condition); \
		if (unlikely(kvroute_warns)) \
			fprintf(stderr, "WARNING: %s:%d\n", __FILE__, __LINE__); \
		unlikely(kvroute_warns); \
	})
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)

#endif
