// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What the module knows, in debugfs, for root: counts, callers, held memory, reports, recording. */
#include <linux/debugfs.h>
#include <linux/module.h>

#include "kvroute.h"

static atomic_long_t counts[KVR_NR_COUNTS];
static struct dentry *folder;

static const char *const names[KVR_NR_COUNTS] = {
	[KVR_NR_REQUESTS] = "requests", [KVR_NR_BY_VMALLOC] = "by_vmalloc",
	[KVR_NR_BY_SLAB] = "by_slab", [KVR_NR_BY_POLICY] = "by_policy", [KVR_NR_FAILED] = "failed",
	[KVR_NR_NOT_LEGAL] = "not_legal", [KVR_NR_REFUSED] = "refused",
	[KVR_NR_UNTRACKED] = "untracked", [KVR_NR_LATENT] = "freed_as_slab",
	[KVR_NR_FREED] = "freed", [KVR_NR_REPORTED] = "reported",
};

void kvr_count(enum kvr_count what)
{
	atomic_long_inc(&counts[what]);
}

/*
 * Who has one of the files open is left out of the plan, and not counted: to read asks kvmalloc()
 * for memory too, and `kvroute live` reads while a plan is on.
 */
#define NR_READERS 8
static struct { struct file *file; pid_t tgid; } readers[NR_READERS];
static unsigned int nr_readers;
static DEFINE_RAW_SPINLOCK(readers_lock);

bool notrace kvr_is_reader(void)
{
	unsigned int i;

	if (!READ_ONCE(nr_readers) || !in_task())
		return false;
	for (i = 0; i < NR_READERS; i++)
		if (READ_ONCE(readers[i].tgid) == current->tgid)
			return true;
	return false;
}

/* Puts a file in the place of another, or of none. Where there is no place, its reader is counted. */
static void set_reader(struct file *from, struct file *to, pid_t tgid)
{
	unsigned int i = 0;

	raw_spin_lock(&readers_lock);
	while (i < NR_READERS && readers[i].file != from)
		i++;
	if (i < NR_READERS) {
		readers[i].file = to;
		WRITE_ONCE(readers[i].tgid, tgid);
		WRITE_ONCE(nr_readers, to ? nr_readers + 1 : nr_readers - 1);
	}
	raw_spin_unlock(&readers_lock);
}

static int stats_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < KVR_NR_COUNTS; i++)
		seq_printf(m, "%s %ld\n", names[i], atomic_long_read(&counts[i]));
	seq_printf(m, "held %lu\nlost %lu\n", kvr_held_show(NULL), kvr_record_nr_lost());
	return 0;
}

static int callers_show(struct seq_file *m, void *unused)
{
	kvr_callers_show(m);
	return 0;
}

static int held_show(struct seq_file *m, void *unused)
{
	kvr_held_show(m);
	return 0;
}

static int reports_show(struct seq_file *m, void *unused)
{
	kvr_reports_show(m);
	return 0;
}

static int file_open(struct inode *inode, struct file *file)
{
	int err = single_open(file, inode->i_private, NULL);

	if (!err)
		set_reader(NULL, file, current->tgid);
	return err;
}

static int file_release(struct inode *inode, struct file *file)
{
	set_reader(file, NULL, 0);
	return single_release(inode, file);
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE, .open = file_open, .release = file_release, .read = seq_read,
	.llseek = seq_lseek,
};

static int recording_open(struct inode *inode, struct file *file)
{
	int err = kvr_record_open(file);

	if (err)
		return err;
	set_reader(NULL, file, current->tgid);
	return nonseekable_open(inode, file);
}

static int recording_release(struct inode *inode, struct file *file)
{
	set_reader(file, NULL, 0);
	return seq_release_private(inode, file);
}

static const struct file_operations recording_ops = {
	.owner = THIS_MODULE, .open = recording_open, .release = recording_release,
	.read = seq_read,
};

/* A kernel without debugfs still routes and reports into the log. */
void kvr_files_init(void)
{
	folder = debugfs_create_dir("kvroute", NULL);
	debugfs_create_file("stats", 0400, folder, stats_show, &file_ops);
	debugfs_create_file("callers", 0400, folder, callers_show, &file_ops);
	debugfs_create_file("held", 0400, folder, held_show, &file_ops);
	debugfs_create_file("reports", 0400, folder, reports_show, &file_ops);
	debugfs_create_file("recording", 0400, folder, NULL, &recording_ops);
}

void kvr_files_exit(void)
{
	debugfs_remove(folder);
}
