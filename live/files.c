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

static int stats_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < KVR_NR_COUNTS; i++)
		seq_printf(m, "%s %ld\n", names[i], atomic_long_read(&counts[i]));
	seq_printf(m, "held %lu\nlost %lu\n", kvr_held_show(NULL), kvr_record_nr_lost());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int callers_show(struct seq_file *m, void *unused)
{
	kvr_callers_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(callers);

static int held_show(struct seq_file *m, void *unused)
{
	kvr_held_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(held);

static int reports_show(struct seq_file *m, void *unused)
{
	kvr_reports_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(reports);

static int recording_show(struct seq_file *m, void *unused)
{
	return kvr_record_show(m);
}
DEFINE_SHOW_ATTRIBUTE(recording);

/* A kernel without debugfs still routes and reports into the log. */
void kvr_files_init(void)
{
	folder = debugfs_create_dir("kvroute", NULL);
	debugfs_create_file("stats", 0400, folder, NULL, &stats_fops);
	debugfs_create_file("callers", 0400, folder, NULL, &callers_fops);
	debugfs_create_file("held", 0400, folder, NULL, &held_fops);
	debugfs_create_file("reports", 0400, folder, NULL, &reports_fops);
	debugfs_create_file("recording", 0400, folder, NULL, &recording_fops);
}

void kvr_files_exit(void)
{
	debugfs_remove(folder);
}
