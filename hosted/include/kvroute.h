/* A caller in C and its exploration. Part of kvroute; MIT OR Apache-2.0.
 *
 * A program defines kvroute_caller(): it takes memory, uses it, frees it, and returns 0 or more, or
 * a negative error where it was given none. It must do the same whenever it is given the same. */
#ifndef KVROUTE_H
#define KVROUTE_H

#include <stddef.h>

int kvroute_caller(void);

/* Explores a caller and prints what comes of it: 0 if it makes no mistake, 1 if it makes one, 2 if
 * nothing can be said. */
int kvroute_explore(int (*caller)(void));

/* Tries a caller under the plan that a fuzz engine's bytes stand for. A mistake is told on standard
 * error, and aborts the process. */
void kvroute_fuzz(int (*caller)(void), const unsigned char *bytes, size_t nr_bytes);

#endif
