/* SPDX-License-Identifier: MIT
 *
 * The kernel's log, read for trouble: what --fail-on names. Lines go in one by one, as the console watcher (guest/watch.h)
 * cuts them, without printk's prefix; a report comes out when the trouble's trace is complete. No input or output of its
 * own, so no agent in the guest and no module of it is needed.
 *
 *   kind      what the kernel prints                                          and where
 *   warn      WARN(), WARN_ON(), other "WARNING:" lines                       kernel/panic.c
 *   bug       BUG(), "BUG: …"                                                 lib/bug.c, mm/, kernel/
 *   oops      a page fault, general protection, invalid opcode … in kernel    arch/x86/mm/fault.c, kernel/dumpstack.c
 *   kasan     KASAN, KMSAN, KFENCE                                            mm/kasan/report.c, mm/kmsan, mm/kfence
 *   ubsan     UBSAN                                                           lib/ubsan.c
 *   kcsan     KCSAN                                                           kernel/kcsan/report.c
 *   lockdep   lock order, state and balance; RCU used without its lock        kernel/locking/lockdep.c
 *   hung      hung tasks, soft and hard lockups, workqueue lockups            kernel/hung_task.c, watchdog.c, workqueue.c
 *   rcu       RCU stalls; RCU used without its lock                           kernel/rcu/tree_stall.h
 *   leak      kmemleak                                                        mm/kmemleak.c
 *   taint     out-of-tree, unsigned, staging or forced modules …              kernel/module/
 *
 * A report may be of several kinds (a BUG() is an oops too). It begins with the line that names the trouble and takes in
 * what follows up to "---[ end trace", a closing ruler, or the end of the call trace, at most KLOG_LINES lines and KLOG_BYTES
 * bytes; a new trouble begins a new one. The text of a WARN(), which the kernel says before, stands second. Nothing here
 * grows: a report is built in place, and there is one at a time.
 *
 * Thread: one, the console's. Never fails.
 */
#ifndef GUEST_KLOG_H
#define GUEST_KLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum klog_kind {
    KLOG_WARN,
    KLOG_BUG,
    KLOG_OOPS,
    KLOG_KASAN,
    KLOG_UBSAN,
    KLOG_KCSAN,
    KLOG_LOCKDEP,
    KLOG_HUNG,
    KLOG_RCU,
    KLOG_LEAK,
    KLOG_TAINT,
    KLOG_KINDS,
};

enum {
    KLOG_LINES = 160,
    KLOG_BYTES = 16 * 1024,
};

struct klog_report {
    unsigned kinds; /* set of 1 << enum klog_kind */
    /* its lines, each with a line end; the first is what names the trouble. Until the callback returns */
    const char *text;
    size_t first;       /* length of the first, without the line end */
    unsigned truncated; /* lines that found no room */
};

struct klog {
    void (*report)(void *ctx, const struct klog_report *report);
    void *ctx;
    unsigned kinds; /* of the report being built; 0: none is */
    unsigned lines, truncated;
    size_t used, first;
    bool cut; /* "cut here" was the last line, or the last but one and `before` came after it */
    char before[256];
    char text[KLOG_BYTES];
};

/* The word of --fail-on: "kasan". */
const char *klog_kind_name(enum klog_kind kind);

/* What a line says by itself: a set of kinds, 0 for nothing. */
unsigned klog_judge(const char *line);

void klog_init(struct klog *k, void (*report)(void *ctx, const struct klog_report *report), void *ctx);
void klog_line(struct klog *k, const char *line);
/* The log is over: what is being built is reported as it is. */
void klog_end(struct klog *k);

#endif
