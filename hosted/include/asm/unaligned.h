/* Where numbers at any address were until 6.12. Part of kvroute; MIT OR Apache-2.0. */
#include <linux/unaligned.h>
