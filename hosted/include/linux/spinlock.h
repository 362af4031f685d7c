/* Spinlocks: nobody else runs, but who holds one may not sleep. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_SPINLOCK_H
#define KVROUTE_LINUX_SPINLOCK_H

/* How many are held is counted; which ones, nobody asks. */
typedef struct {
	char unused;
} spinlock_t;

void kvroute_spin_lock(void);
void kvroute_spin_unlock(void);

#define DEFINE_SPINLOCK(name) spinlock_t name = { 0 }
#define spin_lock_init(lock) ((void)(lock))
#define spin_lock(lock) ((void)(lock), kvroute_spin_lock())
#define spin_unlock(lock) ((void)(lock), kvroute_spin_unlock())
#define spin_lock_bh(lock) spin_lock(lock)
#define spin_unlock_bh(lock) spin_unlock(lock)
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_lock_irqsave(lock, flags) ((void)((flags) = 0), spin_lock(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))

#endif
