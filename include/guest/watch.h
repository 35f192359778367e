/* SPDX-License-Identifier: MIT
 *
 * The console watcher: reads the guest kernel's log as it passes through COM1 and tells what the kernel says
 * of its own death, so that a panic is known on kernels that have no pvpanic driver. No input or output of
 * its own: bytes go in by watch_feed(), events come out of the callback. It keeps one line of at most
 * WATCH_LINE bytes (a longer one is judged by its beginning) and never grows.
 *
 * A line counts only where the kernel's own message begins: after the optional level `<4>` and the bracketed fields
 * (`[    1.234567]`, `[   T12]`) that printk puts before it; or after a time stamp in the middle of a line, where the message
 * came behind a prompt that had no line end (but not behind syslog's `kernel: `). A program that prints the words in the middle
 * of a line is no panic. One that writes a whole line as the kernel would, to the kernel's own console, cannot be told from
 * it. Texts: kernel/panic.c ("Kernel panic - not syncing", "---[ end Kernel panic"), arch/x86/kernel/reboot.c ("reboot:
 * System halted" by kernel/reboot.c's prefix).
 */
#ifndef GUEST_WATCH_H
#define GUEST_WATCH_H

#include <stddef.h>

enum {
    WATCH_LINE = 1024
};

enum watch_event {
    WATCH_LINE_END,  /* any other full line; for what looks at the whole log */
    WATCH_PANIC,     /* "Kernel panic - not syncing…": the trace is still to come */
    WATCH_PANIC_END, /* "---[ end Kernel panic…": nothing more will come */
    WATCH_HALTED,    /* "reboot: System halted" */
};

struct watch {
    /* line: without what stands before the kernel's message, and without line end */
    void (*event)(void *arg, enum watch_event event, const char *line);
    void *arg;
    size_t len;
    char line[WATCH_LINE + 1];
};

/* The log is over: what came of a line without its end is a line. */
void watch_end(struct watch *w);

/* Loop thread or, with the console's device lock held, any thread; the callback runs inside. */
void watch_feed(struct watch *w, const void *bytes, size_t n);

#endif
