/* The same as queues_wrong.c, freed as it should be, and with locks.
 *
 * A device's queues as a network driver sets them up: the table is large enough that kvmalloc may
 * give either kind of memory. */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <kvroute.h>

#define NR_QUEUES 64

static DEFINE_SPINLOCK(list_lock);
static DEFINE_SPINLOCK(queue_lock);

struct queue {
	u64 nr_packets;
	u8 *ring;
	char name[80];
};

struct device {
	struct rcu_head rcu;
	struct queue *queues;
	unsigned int nr_queues;
};

static void device_free(struct device *device)
{
	while (device->nr_queues > 0)
		kfree(device->queues[--device->nr_queues].ring);
	kvfree(device->queues);
	kfree_rcu(device, rcu);
}

/* From one lock to the next: what is taken first is given back first. */
static void go_along(void)
{
	spin_lock(&list_lock);
	spin_lock(&queue_lock);
	spin_unlock(&list_lock);
	spin_unlock(&queue_lock);
}

static struct device *device_new(void)
{
	struct device *device;

	go_along();
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return ERR_PTR(-ENOMEM);
	device->queues = kvcalloc(NR_QUEUES, sizeof(struct queue), GFP_KERNEL);
	if (!device->queues)
		goto failed;
	for (; device->nr_queues < NR_QUEUES / 16; device->nr_queues++) {
		struct queue *queue = &device->queues[device->nr_queues];

		queue->ring = kmalloc(256, GFP_KERNEL);
		if (!queue->ring)
			goto failed;
		memset(queue->ring, 0, 256);
	}
	return device;
failed:
	device_free(device);
	return ERR_PTR(-ENOMEM);
}

int kvroute_caller(void)
{
	struct device *device = device_new();

	if (IS_ERR(device))
		return PTR_ERR(device);
	device->queues[0].nr_packets = 1;
	device_free(device);
	return 0;
}
