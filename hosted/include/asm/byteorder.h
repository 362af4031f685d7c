/* The order of bytes in a number. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_ASM_BYTEORDER_H
#define KVROUTE_ASM_BYTEORDER_H

#include <linux/types.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KVROUTE_LE(bits, x) ((u##bits)(x))
#define KVROUTE_BE(bits, x) __builtin_bswap##bits((u##bits)(x))
#else
#define KVROUTE_LE(bits, x) __builtin_bswap##bits((u##bits)(x))
#define KVROUTE_BE(bits, x) ((u##bits)(x))
#endif

#define cpu_to_le16(x) KVROUTE_LE(16, x)
#define cpu_to_le32(x) KVROUTE_LE(32, x)
#define cpu_to_le64(x) KVROUTE_LE(64, x)
#define le16_to_cpu(x) KVROUTE_LE(16, x)
#define le32_to_cpu(x) KVROUTE_LE(32, x)
#define le64_to_cpu(x) KVROUTE_LE(64, x)
#define cpu_to_be16(x) KVROUTE_BE(16, x)
#define cpu_to_be32(x) KVROUTE_BE(32, x)
#define cpu_to_be64(x) KVROUTE_BE(64, x)
#define be16_to_cpu(x) KVROUTE_BE(16, x)
#define be32_to_cpu(x) KVROUTE_BE(32, x)
#define be64_to_cpu(x) KVROUTE_BE(64, x)
#define le16_to_cpup(p) le16_to_cpu(*(const u16 *)(p))
#define le32_to_cpup(p) le32_to_cpu(*(const u32 *)(p))
#define le64_to_cpup(p) le64_to_cpu(*(const u64 *)(p))
#define be16_to_cpup(p) be16_to_cpu(*(const u16 *)(p))
#define be32_to_cpup(p) be32_to_cpu(*(const u32 *)(p))
#define be64_to_cpup(p) be64_to_cpu(*(const u64 *)(p))

#endif
