/* The kernel's words for the compiler. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_COMPILER_H
#define KVROUTE_LINUX_COMPILER_H

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __init
#define __exit
#define __must_check
#ifndef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#endif
#define __user
#define __force
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#endif
