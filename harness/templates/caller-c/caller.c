/* The code that takes memory. Put yours in the place of set_up(), or beside this file, and call it
 * from kvroute_caller(). */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <kvroute.h>

static int set_up(void)
{
	unsigned char *table = kvzalloc(0x1800, GFP_KERNEL);

	if (!table)
		return -ENOMEM;
	memset(table, 7, 0x1800);
	kvfree(table);
	return 0;
}

/* It is run again and again, and each time other requests fail, or are served by the slab, by
 * vmalloc, or at the most awkward place that the rules allow. It returns 0, or a negative error
 * where it was given no memory; all that it took until then is given back. */
int kvroute_caller(void)
{
	return set_up();
}
