/* Numbers at any address. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_UNALIGNED_H
#define KVROUTE_LINUX_UNALIGNED_H

#include <asm/byteorder.h>
#include <linux/types.h>

#define get_unaligned(p) \
	(((const struct { __typeof__(*(p)) kv_x; } __attribute__((packed)) *)(p))->kv_x)
#define put_unaligned(value, p) \
	((void)(((struct { __typeof__(*(p)) kv_x; } __attribute__((packed)) *)(p))->kv_x = (value)))

#define get_unaligned_le16(p) le16_to_cpu(get_unaligned((const u16 *)(p)))
#define get_unaligned_le32(p) le32_to_cpu(get_unaligned((const u32 *)(p)))
#define get_unaligned_le64(p) le64_to_cpu(get_unaligned((const u64 *)(p)))
#define get_unaligned_be16(p) be16_to_cpu(get_unaligned((const u16 *)(p)))
#define get_unaligned_be32(p) be32_to_cpu(get_unaligned((const u32 *)(p)))
#define get_unaligned_be64(p) be64_to_cpu(get_unaligned((const u64 *)(p)))
#define put_unaligned_le16(value, p) put_unaligned(cpu_to_le16(value), (u16 *)(p))
#define put_unaligned_le32(value, p) put_unaligned(cpu_to_le32(value), (u32 *)(p))
#define put_unaligned_le64(value, p) put_unaligned(cpu_to_le64(value), (u64 *)(p))
#define put_unaligned_be16(value, p) put_unaligned(cpu_to_be16(value), (u16 *)(p))
#define put_unaligned_be32(value, p) put_unaligned(cpu_to_be32(value), (u32 *)(p))
#define put_unaligned_be64(value, p) put_unaligned(cpu_to_be64(value), (u64 *)(p))

#endif
