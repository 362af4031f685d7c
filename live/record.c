// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The recording: a ring on each CPU, written without a lock, read as the text that tracefs would
 * print for probes on kvmalloc() and the calls that free, so that `kvroute replay` reads it.
 *
 * Who opens it reads from the oldest record that is kept to the last, and on from there if he asks
 * again later. What others took the place of meanwhile is told as lost.
 */
#include <linux/kmemleak.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/timekeeping.h>
#include <linux/utsname.h>

#include "kvroute.h"

enum kind { SERVED, REFUSED, FREED };

struct record {
	u64 number;	/* over all CPUs, from 1; 0 while it is written */
	unsigned long place;	/* on its CPU, from 0 */
	u64 time_ns;
	const void *p;
	struct kvr_caller *caller;	/* NULL for a free */
	unsigned long nth;
	unsigned long from;		/* where a free was called */
	size_t size;
	gfp_t flags;
	u8 kind, detail;		/* detail: the route, or the call that frees */
	u8 is_hardirq, is_softirq;
	u16 cpu;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

#define RING_LEN 8192u

struct ring {
	struct record *records;
	atomic_long_t nr_written;
};

static DEFINE_PER_CPU(struct ring, rings);
static atomic64_t nr_records = ATOMIC64_INIT(0);

static void write(struct record *what)
{
	struct ring *ring = get_cpu_ptr(&rings);
	unsigned long at = atomic_long_inc_return(&ring->nr_written) - 1;
	struct record *record = &ring->records[at % RING_LEN];
	u64 number = atomic64_inc_return(&nr_records);

	WRITE_ONCE(record->number, 0);
	smp_wmb(); /* Who reads it meanwhile sees that. */
	what->number = 0;
	what->place = at;
	what->time_ns = ktime_get_mono_fast_ns();
	what->is_hardirq = !!in_hardirq();
	what->is_softirq = !!in_serving_softirq();
	what->cpu = smp_processor_id();
	what->pid = task_pid_nr(current);
	memcpy(what->comm, current->comm, sizeof(what->comm));
	*record = *what;
	smp_wmb(); /* The number comes when all else is there. */
	WRITE_ONCE(record->number, number);
	put_cpu_ptr(&rings);
}

void kvr_record_serve(const struct kvr_held *held, enum kvr_route route)
{
	struct record what = {
		.kind = SERVED, .detail = route, .p = held->p, .caller = held->caller,
		.nth = held->nth, .size = held->size, .flags = held->flags,
	};

	write(&what);
}

void kvr_record_refuse(const struct kvr_held *held)
{
	struct record what = {
		.kind = REFUSED, .detail = KVR_FAILS, .caller = held->caller, .nth = held->nth,
		.size = held->size, .flags = held->flags,
	};

	write(&what);
}

void kvr_record_free(const void *p, enum kvr_free call, const struct kvr_stack *by)
{
	struct record what = {
		.kind = FREED, .detail = call, .p = p, .from = by->nr ? by->entries[0] : 0,
	};

	kvr_count(KVR_NR_FREED);
	write(&what);
}

static void show_head(struct seq_file *m, const struct record *record)
{
	u64 micros = div_u64(record->time_ns, 1000);
	u32 rest = do_div(micros, 1000000);
	char irq = record->is_hardirq ? 'h' : record->is_softirq ? 's' : '.';

	seq_printf(m, "%16s-%-7d [%03u] ..%c.. %5llu.%06u: ", record->comm, record->pid,
		   record->cpu, irq, micros, rest);
}

static void show_request(struct seq_file *m, const struct record *record)
{
	static const char *const routes[] = { "policy", "slab", "vmalloc", "fails" };

	show_head(m, record);
	seq_printf(m, "kv: size=%zu gfp=0x%x node=-1 request=%lu route=%s caller=%s\n",
		   record->size, (__force u32)record->flags, record->nth, routes[record->detail],
		   record->caller->name);
	show_head(m, record);
	seq_printf(m, "kvr: ret=0x%lx\n", (unsigned long)record->p);
}

static void show_free(struct seq_file *m, const struct record *record)
{
	show_head(m, record);
	switch (record->detail) {
	case KVR_KFREE:
		seq_printf(m, "kfree: call_site=%pS ptr=%px\n", (void *)record->from, record->p);
		break;
	case KVR_VFREE:
		seq_printf(m, "vf: addr=0x%px call_site=%pS\n", record->p, (void *)record->from);
		break;
	default:
		seq_printf(m, "kvf: addr=0x%px call_site=%pS\n", record->p, (void *)record->from);
	}
}

/* How far a reader has come on one CPU, and how many were lost on the way. */
struct place {
	unsigned long at, nr_lost;
};

struct reader {
	bool is_given;		/* a record that was not shown yet */
	struct record record;
	struct place places[];
};

/* Copies the record that comes next on a CPU. There may be none, or it is just being written. */
static bool copy_next(const struct ring *ring, struct place *place, struct record *copy)
{
	unsigned long nr_written = atomic_long_read(&ring->nr_written);
	const struct record *record;
	u64 number;

	if (nr_written - place->at > RING_LEN) {
		place->nr_lost += nr_written - place->at - RING_LEN;
		place->at = nr_written - RING_LEN;
	}
	record = &ring->records[place->at % RING_LEN];
	number = READ_ONCE(record->number);
	smp_rmb(); /* Pairs with the two of write(). */
	*copy = *record;
	smp_rmb();
	if (!number || READ_ONCE(record->number) != number || copy->place != place->at)
		return false;
	copy->number = number;
	return true;
}

/* The next record of all CPUs, which is there until it is shown; NULL if there is none yet. */
static struct reader *next_record(struct reader *reader)
{
	struct place *chosen = NULL;
	struct record record;
	int cpu;

	if (reader->is_given)
		return reader;
	for_each_possible_cpu(cpu) {
		struct place *place = &reader->places[cpu];

		if (!copy_next(per_cpu_ptr(&rings, cpu), place, &record))
			continue;
		if (!chosen || record.number < reader->record.number) {
			chosen = place;
			reader->record = record;
		}
	}
	if (!chosen)
		return NULL;
	chosen->at++;
	reader->is_given = true;
	return reader;
}

static void *record_start(struct seq_file *m, loff_t *pos)
{
	return *pos ? next_record(m->private) : SEQ_START_TOKEN;
}

static void *record_next(struct seq_file *m, void *shown, loff_t *pos)
{
	struct reader *reader = m->private;

	++*pos;
	if (shown != SEQ_START_TOKEN) {
		reader->places[reader->record.cpu].nr_lost = 0;
		reader->is_given = false;
	}
	return next_record(reader);
}

static void record_stop(struct seq_file *m, void *shown)
{
}

static int record_show(struct seq_file *m, void *shown)
{
	const struct reader *reader = shown;
	const struct record *record;
	unsigned long nr_lost;

	if (shown == SEQ_START_TOKEN) {
		seq_printf(m, "# os release : %s\n# tracer: nop\n", init_utsname()->release);
		return 0;
	}
	record = &reader->record;
	nr_lost = reader->places[record->cpu].nr_lost;
	if (nr_lost)
		seq_printf(m, "CPU:%d [LOST %lu EVENTS]\n", record->cpu, nr_lost);
	if (record->kind == FREED)
		show_free(m, record);
	else
		show_request(m, record);
	return 0;
}

static const struct seq_operations record_ops = {
	.start = record_start, .next = record_next, .stop = record_stop, .show = record_show,
};

int kvr_record_open(struct file *file)
{
	return seq_open_private(file, &record_ops,
				struct_size((struct reader *)NULL, places, nr_cpu_ids));
}

/* Records whose places others have taken. */
unsigned long kvr_record_nr_lost(void)
{
	unsigned long nr_lost = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		unsigned long nr_written = atomic_long_read(&per_cpu_ptr(&rings, cpu)->nr_written);

		nr_lost += nr_written - min_t(unsigned long, nr_written, RING_LEN);
	}
	return nr_lost;
}

int kvr_record_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct ring *ring = per_cpu_ptr(&rings, cpu);

		ring->records = vzalloc(array_size(RING_LEN, sizeof(struct record)));
		if (!ring->records) {
			kvr_record_exit();
			return -ENOMEM;
		}
		/* It names memory that may be lost. */
		kmemleak_no_scan(ring->records);
	}
	return 0;
}

void kvr_record_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		vfree(per_cpu_ptr(&rings, cpu)->records);
}
