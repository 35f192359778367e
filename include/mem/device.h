/* SPDX-License-Identifier: MIT
 *
 * Devices: classes, instances, and the board that they sit on.
 *
 * A class is one const table: name, help, options, register banks, the state that is in no register, and
 * init. The list of classes is written in guest/ (the composition root) and handed in; nothing registers
 * itself. An instance is the class's own struct with `struct device` as its first member, made zeroed by
 * device_new(), and lives as long as the VM.
 *
 *   --device CLASS[,id=ID][,key=value…]  ->  device_add()  ->  options filled in by offset, registers at
 * their reset values, class->init(), class->reset().
 *
 * Locks. Device code (init's callbacks, register callbacks, timers, tasks, reset, save, load) runs with the
 * device's lock held; device files contain no lock calls, except in the few functions that they export to the
 * host's side (serial_rx() …), which say so. init itself runs at set-up, on one thread, without the lock.
 * Device code never changes the memory map after init, takes no second device's lock, and never blocks.
 *
 * Timers and tasks run on the loop thread with the device's lock taken by the wrapper. One that was cancelled
 * (under the lock, by any thread) does not run any more, even when the loop was already waiting for the lock.
 *
 * Saved state: every backing field of the registers and every state_field, by name, little-endian; no
 * pointers, no padding, so that a state is read by a build with another layout. What is loaded is untrusted:
 * sizes and names are checked here, values by the class's loaded().
 */
#ifndef MEM_DEVICE_H
#define MEM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kvm/host/lock.h"
#include "kvm/host/loop.h"
#include "mem/job.h"
#include "mem/regs.h"

struct opt;
struct irqs;
struct net;
struct pci_bus;
struct work;
struct device;

/* Why a machine ends at its own wish. */
enum board_end {
    BOARD_POWEROFF,
    BOARD_REBOOT,
    BOARD_PANIC, /* pvpanic */
    BOARD_EXIT,  /* status 0-255 from an exit port */
};

/* The services handed to every device. Filled in by guest/machine.c, or by a test with fakes; outlives the
 * devices. */
struct board {
    struct space *memory, *io;
    struct region *mem_root, *io_root;
    struct irqs *irqs;
    struct loop *loop;   /* its clock is monotonic time, ns: that of timers and of deadlines */
    struct clock wall;   /* host's wall clock: ns since 1970-01-01 UTC */
    struct clock guest;  /* monotonic, standing still while the guest is paused */
    struct pci_bus *pci; /* NULL on a board without */
    struct net *net;     /* what the ports of cards join (net/port.h); NULL on a board without cards */
    struct work *work;   /* for what blocks; NULL in tests that need none */
    unsigned cpus;       /* vCPUs; 0 counts as 1 */

    /* Any thread, a device's lock may be held; returns at once. The first call counts, later ones do
     * nothing. */
    void (*end)(void *ctx, enum board_end why, int status);
    void *end_ctx;

    struct device *devices, **devices_tail; /* in the order of their making */
};

/* State that is in no register: counters, rings, latches. */
struct state_field {
    const char *name; /* NULL ends the list; unique within the class, registers included */
    uint32_t offset;
    uint8_t width;   /* of an element: 1, 2, 4, 8 */
    uint32_t count;  /* elements, 0: 1 */
    uint32_t stride; /* bytes from one to the next, 0: width */
};
#define STATE(type_, member_)                                                                                \
    {                                                                                                        \
        .name = #member_, .offset = offsetof(type_, member_), .width = sizeof(((type_ *)0)->member_),        \
        .count = 1                                                                                           \
    }
#define STATE_ARRAY(type_, member_)                                                                          \
    {                                                                                                        \
        .name = #member_, .offset = offsetof(type_, member_), .width = sizeof(((type_ *)0)->member_[0]),     \
        .count = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0])                            \
    }

/* What a class is plugged into: the options that all devices there have, and what is done before the class's init (NULL:
 * nothing; an error as init's). A bus puts what it wants to know of the class behind it: pci/device.h's PCI_FUNCTION(). */
struct device_bus {
    const struct opt *options;
    const char *(*init)(struct device *dev, struct board *board);
};

struct device_class {
    const char *name;                    /* as in --device */
    const char *help;                    /* one line */
    size_t size;                         /* of the instance's struct */
    const struct opt *options;           /* offsets into the instance; NULL: none */
    const struct device_bus *bus;        /* what it is plugged into; NULL: init sees to it */
    const struct reg_bank *const *banks; /* NULL-ended; NULL: none */
    const struct state_field *state;     /* NULL: none */
    bool internal;                       /* part of every machine: not for --device */
    bool single;                         /* at most one a machine */
    /* Options are in, registers at reset. Adds its regions to the board, makes its lines and timers. NULL, or
     * a sentence without the device's name (may be in dev->error). */
    const char *(*init)(struct device *dev, struct board *board);
    /* after the registers went back; also called once after init. NULL: nothing */
    void (*reset)(struct device *dev);
    /* After a load: NULL, or why the state cannot be; derives again what follows from it (lines, timers). */
    const char *(*loaded)(struct device *dev);
    /* Set-up thread, nothing else runs any more: gives back what init took from the host. */
    void (*fini)(struct device *dev);
    /* Seeing it (mem/watch.h), each NULL for none: why it discards things, what its drivers do wrong (both ended
     * by NULL), and what an access is about to lead to. */
    const char *const *drops, *const *lints;
    void (*explain)(struct device *dev, const struct reg *reg, bool write, uint64_t value, char *buf,
                    size_t size);
    void (*stats)(struct device *dev,
                  FILE *out); /* more lines for `vmlet info NAME stats`, two blanks in front */
};

struct device {
    const struct device_class *class;
    struct board *board;
    char id[32]; /* class and index, or id= */
    struct lock lock;
    const struct reg_hooks *hooks; /* NULL: nobody watches. Set at set-up or under the lock */
    struct reg_map *maps;          /* one for each bank of the class, in its order */
    unsigned n_maps;
    uint64_t refused[REG_FAULTS]; /* accesses that did nothing */
    struct watch *watch;          /* mem/watch.h; NULL: nobody watches */
    uint64_t *drops, *lints;      /* how often, by the class's lists */
    struct device_timer *timers;
    struct device_task *tasks;
    /* The bus's, set by its part of init: after the registers went back; takes back what it has of the device. */
    void (*bus_reset)(struct device *dev), (*leave)(struct device *dev);
    struct device *next;
    char error[160]; /* room for init's sentence */
};

/* ---- classes ---- */
const struct device_class *device_class_find(const struct device_class *const *list, const char *name);
/* `--device help`: every class that is not internal, with its help. */
void device_class_print(const struct device_class *const *list, FILE *out);
/* `--device CLASS,help`: its options. */
void device_class_help(const struct device_class *class, FILE *out);

/* ---- instances: set-up thread ---- */
/* options: "key=value,…" or NULL; id NULL: class and index. NULL and a sentence in err (which names the
 * device). */
struct device *device_new(struct board *board, const struct device_class *class, const char *id,
                          const char *options, char *err, size_t errlen);
/* The same from "CLASS[,id=ID][,key=value…]". */
struct device *device_add(struct board *board, const struct device_class *const *list, const char *spec,
                          char *err, size_t errlen);
struct device *device_find(struct board *board, const char *id);
struct device *device_of_class(struct board *board,
                               const struct device_class *class); /* the first made; or NULL */
/* Loop thread, all vCPUs stopped: every device, last made first. */
void devices_free(struct board *board);

/* The bank with this number in class->banks; its region is ready to be added. */
static inline struct reg_map *device_map(struct device *dev, unsigned bank)
{
    return &dev->maps[bank];
}
/* A bank that this device has and not every one of its class: at most one, by init. NULL: no memory. */
struct reg_map *device_add_bank(struct device *dev, const struct reg_bank *bank);
/* Puts a bank's region into the board's I/O space. Set-up. */
void device_map_ports(struct device *dev, unsigned bank, uint16_t port);

/* Takes the lock. Registers back to reset values (timers that it cancels are the class's business),
 * class->reset(). */
void device_reset(struct device *dev);
void device_reset_locked(struct device *dev); /* for mem/state.c */
/* Takes the lock, after the guest's coalesced writes were delivered (mem/ioevent.h): how the loop comes to a device. */
void device_enter(struct device *dev);
void devices_reset(struct board *board);

/* ---- timers and tasks: embedded in the device ---- */
struct device_timer {
    struct loop_timer timer;
    struct device *dev;
    void (*fn)(struct device *dev);
    uint64_t deadline;     /* loop's clock, ns; DEVICE_TIMER_OFF when not set. Guarded by the device's lock */
    const struct job *job; /* NULL, or the job whose timer this is: then it is mem/job.c's */
    struct device_timer *next;
};
#define DEVICE_TIMER_OFF UINT64_MAX
struct device_task {
    struct loop_task task;
    struct device *dev;
    void (*fn)(struct device *dev);
    struct device_task *next;
};
void device_timer_init(struct device *dev, struct device_timer *t,
                       void (*fn)(struct device *dev));              /* in init */
void device_timer_set(struct device_timer *t, uint64_t deadline_ns); /* lock held */
void device_timer_after(struct device_timer *t, uint64_t ns);        /* lock held; from now on */
void device_timer_cancel(struct device_timer *t);                    /* lock held */
void device_task_init(struct device *dev, struct device_task *t,
                      void (*fn)(struct device *dev)); /* in init */
void device_task_post(struct device_task *t); /* any lock; coalesces: one run for all posts before it */

/* ---- saved state ---- */
/* Bytes of the device's state in buf, as far as they fit; returns how many there are (as snprintf does).
 * Takes the lock. */
size_t device_save(struct device *dev, void *buf, size_t size);
/* Resets, then sets what the bytes name. Unknown names, wrong sizes, cut data, values that loaded() refuses:
 * a sentence, and the device is as after reset. NULL: done. Takes the lock. */
const char *device_load(struct device *dev, const void *buf, size_t size);

/* `info regs ID`: all banks and the state fields. Takes the lock. */
void device_dump(struct device *dev, FILE *out);

/* Ends the machine (board->end). Lock may be held. */
static inline void board_end(struct board *board, enum board_end why, int status)
{
    board->end(board->end_ctx, why, status);
}
static inline uint64_t board_wall(const struct board *board)
{
    return board->wall.now(board->wall.ctx);
}
static inline uint64_t board_guest_time(const struct board *board)
{
    return board->guest.now(board->guest.ctx);
}

#endif
