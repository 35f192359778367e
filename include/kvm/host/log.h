/* SPDX-License-Identifier: MIT
 *
 * What vmlet says about itself: on standard error, one line a message, each `vmlet: …`. Three kinds of wrong,
 * and no fourth:
 *
 *   die()        the user's or the host's fault, during set-up only: ends the process with status 125.
 *   warn()       trouble on the host's side while running: service is degraded, the VM goes on.
 *   guest_bug()  the guest did something no driver may: counted, rate limited (10 messages in 5 s a call
 * site, then one line that says how many were held back), the VM goes on.
 *
 * A message names the object, the operation, the reason and the remedy:
 * `net0: tap "vm0": TUNSETIFF: Operation not permitted (run as root, or pass fd=)`.
 * All functions may be called from any thread, with any lock held (the log's lock is the innermost); none
 * allocates. They leave errno as it was. A message is cut at 1 KiB; control characters in it are shown as
 * `?`, so that a guest's strings cannot play with the user's terminal.
 */
#ifndef KVM_HOST_LOG_H
#define KVM_HOST_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING, /* the default: warn() and guest_bug() are shown */
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Set once at start-up, before threads. */
void log_set_level(enum log_level level);

/* Called by die() after its message, once, before exit(status): the result file and the terminal are put right
 * there. exit() runs the atexit handlers too. Owner: machine.c. */
void log_set_die_hook(void (*hook)(int status, const char *message));

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* die() with another status than 125: 126 and 127, as a shell says them. */
_Noreturn void die_status(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One per call site, static, zero-initialised; see guest_bug(). */
struct bug_site {
    _Atomic uint64_t window; /* start of the current 5 s window, CLOCK_MONOTONIC, ns */
    _Atomic uint32_t shown;  /* messages in this window */
    _Atomic uint64_t held;   /* messages not shown since the last one that was */
};

void guest_bug_at(struct bug_site *site, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define guest_bug(...)                                                                                       \
    do {                                                                                                     \
        static struct bug_site bug_site_;                                                                    \
        guest_bug_at(&bug_site_, __VA_ARGS__);                                                               \
    } while (0)

/* What a guest has to say, and may say as often as it likes: rate limited in the same way, but not counted as a bug. */
void guest_note_at(struct bug_site *site, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define guest_note(level, ...)                                                                               \
    do {                                                                                                     \
        static struct bug_site bug_site_;                                                                    \
        guest_note_at(&bug_site_, level, __VA_ARGS__);                                                       \
    } while (0)

/* Makes text harmless for a terminal: C0 and C1 control characters (these as UTF-8 too, U+0080-U+009F) become `?`. Applied
 * to every message; for what else shows a guest's words. */
void log_clean(char *text, size_t n);

/* How many guest_bug()s there were in all, shown or not. */
uint64_t log_guest_bugs(void);

#endif
