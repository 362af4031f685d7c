/* Errors, from the system's own list, which the C library's errno.h looks for here too. Part of
 * kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_ERRNO_H
#define KVROUTE_LINUX_ERRNO_H

#include <asm/errno.h>

#endif
