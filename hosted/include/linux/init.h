/* Where the kernel keeps what runs once. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_INIT_H
#define KVROUTE_LINUX_INIT_H

#include <linux/compiler.h>


#endif
