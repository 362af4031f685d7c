/* Checksums, bit by bit. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_CRC32_H
#define KVROUTE_LINUX_CRC32_H

#include <linux/types.h>

static inline u32 crc32_le(u32 crc, const void *bytes, size_t len)
{
	const u8 *at = (const u8 *)bytes;

	while (len--) {
		crc ^= *at++;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

#define crc32(seed, bytes, len) crc32_le(seed, bytes, len)

#endif
