/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Random routing in a running kernel: requests of kvmalloc() are served by slab or vmalloc as a
 * plan says, what is done with the memory is recorded, and misuse is reported with both stacks.
 *
 * hook.c puts functions of ours before the kernel's, serve.c decides and serves (plan.c, caller.c),
 * held.c knows whose memory is live, free.c and device.c judge what is done with it, report.c
 * says so, record.c keeps the recording, files.c shows it all in debugfs.
 */
#ifndef KVROUTE_H
#define KVROUTE_H

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#define pr_fmt_kvroute "kvroute: "
#define kvr_warn(fmt, ...) pr_warn(pr_fmt_kvroute fmt, ##__VA_ARGS__)
#define kvr_info(fmt, ...) pr_info(pr_fmt_kvroute fmt, ##__VA_ARGS__)

/* Saved stacks end here; deeper frames say little about who asked. */
#define KVR_DEPTH 12

struct kvr_stack {
	unsigned int nr;
	unsigned long entries[KVR_DEPTH];
};

/* A task, and the stack of the call that it made. */
struct kvr_who {
	pid_t pid;
	char comm[TASK_COMM_LEN];
	struct kvr_stack stack;
};

/* A place in the code that asks for memory. Its counts survive its module. */
struct kvr_caller {
	char name[88];		/* module:function+offset, the same on every boot of a kernel */
	u32 hash;		/* of the name */
	bool is_wrapper;	/* asks on behalf of its own caller, as kvrealloc() does */
	bool is_chosen;		/* the plan names it */
	atomic_long_t nr_planned;	/* requests since the plan's callers were set */
	atomic_long_t nr_requests, nr_vmalloc, nr_slab, nr_failed, nr_reports;
};

enum kvr_side { KVR_NONE, KVR_SLAB, KVR_VMALLOC };

enum kvr_route { KVR_POLICY, KVR_BY_SLAB, KVR_BY_VMALLOC, KVR_FAILS };

/* Memory that a caller of kvmalloc() holds, and how it got it. */
struct kvr_held {
	struct hlist_node node;
	const void *p;
	const void *area;	/* where it begins for vfree(); before p at the end of a page */
	size_t size;
	gfp_t flags;
	enum kvr_side side;
	struct kvr_caller *caller;
	unsigned long nth;	/* request of this caller under this plan, from 1 */
	bool is_settled;	/* told as a leak, or soon freed: no leak any more */
	struct kvr_freed *freed;	/* NULL while it is held */
	struct kvr_who who;
};

/* How memory was freed, which is remembered for a while: who frees it once more is told of. */
struct kvr_freed {
	struct kvr_held *held;	/* NULL: no memory's */
	bool is_put_off;	/* vfree() is still to be called */
	struct kvr_who who;
};

/* What the book has of memory that is freed. */
enum kvr_found { KVR_UNKNOWN, KVR_HELD, KVR_FREED };

enum kvr_rule {
	KVR_KFREE_VMALLOC, KVR_VFREE_SLAB, KVR_SENSITIVE_VMALLOC, KVR_KREALLOC_VMALLOC,
	KVR_KSIZE_VMALLOC, KVR_DMA_VMALLOC, KVR_PAGE_OF_VMALLOC, KVR_CONTEXT, KVR_AGAIN, KVR_BEYOND,
	KVR_LEAK,
	KVR_NR_RULES
};

enum kvr_free { KVR_KVFREE, KVR_KFREE, KVR_VFREE };

/* hook.c: from attach to detach, calls may be in functions of ours; each says when it leaves. */
int kvr_attach(void);
void kvr_detach(void);
void kvr_leave(void);

/* plan.c */
bool kvr_is_on(void);
bool kvr_plan_names(const char *caller);
enum kvr_route kvr_plan_route(struct kvr_caller *caller, unsigned long nth, size_t size, gfp_t flags);
bool kvr_plan_wants_edge(void);

/* caller.c */
int kvr_callers_init(void);
void kvr_callers_exit(void);
struct kvr_caller *kvr_caller_of(const struct kvr_stack *stack);
void kvr_callers_choose(void);
bool kvr_caller_is_of(const struct kvr_caller *caller, const struct module *module);
void kvr_callers_forget(const struct module *module,
			bool (*is_gone)(unsigned long ip, const struct module *module));
void kvr_callers_show(struct seq_file *m);

/* held.c */
int kvr_held_init(void);
void kvr_held_exit(void);
struct kvr_held *kvr_held_new(void);
void kvr_held_drop(struct kvr_held *held);
void kvr_held_put(struct kvr_held *held, const void *p);
bool kvr_held_may(const void *p);
bool kvr_held_knows(const void *p);
bool kvr_held_find(const void *p, struct kvr_held *copy);
bool kvr_held_take(const void *p, struct kvr_held *copy);
enum kvr_found kvr_held_free(const void *p, const struct kvr_freed *by, struct kvr_held *copy,
			     struct kvr_freed *before);
bool kvr_held_was_freed(const void *p, struct kvr_held *copy, struct kvr_freed *before);
void kvr_held_forget_freed(const void *p);
void kvr_held_no_longer_put_off(const void *p);
const void *kvr_held_ripe(void);
bool kvr_held_settle(const void *p);
bool kvr_held_around(unsigned long address, struct kvr_held *copy);
bool kvr_held_around_in_oops(unsigned long address, struct kvr_held *copy);
void kvr_held_leaks(const struct module *gone);
unsigned long kvr_held_show(struct seq_file *m);

/* report.c */
void kvr_stack_save(struct kvr_stack *stack, unsigned int depth);
void kvr_who_calls(struct kvr_who *who);
void kvr_report(enum kvr_rule rule, const void *p, const struct kvr_held *held);
void kvr_report_again(const struct kvr_held *held, const struct kvr_freed *before);
void kvr_reports_show(struct seq_file *m);
int kvr_report_init(void);
void kvr_report_exit(void);

/* record.c */
int kvr_record_init(void);
void kvr_record_exit(void);
void kvr_record_serve(const struct kvr_held *held, enum kvr_route route);
void kvr_record_refuse(const struct kvr_held *held);
void kvr_record_free(const void *p, enum kvr_free call, const struct kvr_stack *by);
unsigned long kvr_record_nr_lost(void);
int kvr_record_open(struct file *file);

/* serve.c, free.c, device.c: what stands before the functions of the kernel. */
enum kvr_found kvr_free_in_book(const void *p, enum kvr_free call, struct kvr_held *held);
bool kvr_tell_if_freed(const void *p);
void kvr_let_go(const void *p);
void kvr_give_back(const struct kvr_held *held);
void kvr_free_exit(void);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define KVR_KVMALLOC_PARAMS DECL_BUCKET_PARAMS(size, b), gfp_t flags, int node
#define KVR_KVMALLOC_PASS(size, b) PASS_BUCKET_PARAMS(size, b)
#define KVR_KVMALLOC_ORIGINAL() __kvmalloc_node_noprof(PASS_BUCKET_PARAMS(size, b), flags, node)
#else
#define KVR_KVMALLOC_PARAMS size_t size, gfp_t flags, int node
#define KVR_KVMALLOC_PASS(size, b) size
#define KVR_KVMALLOC_ORIGINAL() kvmalloc_node(size, flags, node)
#endif

struct bio;
struct device;
struct scatterlist;
void *kvr_kvmalloc(KVR_KVMALLOC_PARAMS);
void *kvr_kvrealloc(const void *p, size_t size, gfp_t flags);
void kvr_kvfree(const void *p);
void kvr_kfree(const void *p);
void kvr_vfree(const void *p);
void kvr_kfree_sensitive(const void *p);
void kvr_kvfree_rcu(struct rcu_head *head, void *second);
void *kvr_krealloc(const void *p, size_t size, gfp_t flags);
size_t kvr_ksize(const void *p);
dma_addr_t kvr_dma_map_page(struct device *dev, struct page *page, size_t offset, size_t size);
unsigned int kvr_dma_map_sg(struct device *dev, struct scatterlist *sg, int nents);
int kvr_bio_add_page(struct bio *bio, struct page *page, unsigned int len, unsigned int offset);
const void *kvr_virt_of(const struct page *page);

/*
 * What kvfree_call_rcu() is to free. Its second argument was at first the place of the head in the
 * memory, unless there is no head, and is the memory itself since.
 */
static inline const void *kvr_rcu_memory(const struct rcu_head *head, const void *second)
{
	const bool is_place = __builtin_types_compatible_p(typeof(kvfree_call_rcu),
							   void(struct rcu_head *, rcu_callback_t));

	return head && is_place ? (const void *)head - (unsigned long)second : second;
}

/* What an address is counted for, in files.c. */
enum kvr_count {
	KVR_NR_REQUESTS, KVR_NR_BY_VMALLOC, KVR_NR_BY_SLAB, KVR_NR_BY_POLICY, KVR_NR_FAILED,
	KVR_NR_NOT_LEGAL, KVR_NR_REFUSED, KVR_NR_UNTRACKED, KVR_NR_LATENT, KVR_NR_FREED, KVR_NR_REPORTED,
	KVR_NR_COUNTS
};
void kvr_count(enum kvr_count what);
bool kvr_is_reader(void);
void kvr_files_init(void);
void kvr_files_exit(void);

#endif
