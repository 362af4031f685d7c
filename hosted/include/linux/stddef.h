/* Offsets and NULL. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_STDDEF_H
#define KVROUTE_LINUX_STDDEF_H

#include <stddef.h>

#endif
