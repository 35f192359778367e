// SPDX-License-Identifier: MIT
/* Messages: see include/kvm/host/log.h. A message is put together on the stack and leaves in one write(2), so
 * lines of several threads do not mix and no lock is needed. */
#include "kvm/host/log.h"
#include "kvm/host/ns.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 1024,
    RATE_MESSAGES = 10,
};
#define RATE_WINDOW_NS (5 * SECOND)

static enum log_level log_level = LOG_LEVEL_WARNING;
static void (*die_hook)(int status, const char *message);
static _Atomic uint64_t guest_bugs;
static _Atomic uint64_t lost; /* messages for which there was no room */

void log_set_level(enum log_level level)
{
    log_level = level;
}

void log_set_die_hook(void (*hook)(int status, const char *message))
{
    die_hook = hook;
}

uint64_t log_guest_bugs(void)
{
    return atomic_load_explicit(&guest_bugs, memory_order_relaxed);
}

void log_clean(char *text, size_t n)
{
    unsigned char *p = (unsigned char *)text;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
        else if (p[i] == 0xc2 && i + 1 < n && p[i + 1] >= 0x80 && p[i + 1] < 0xa0)
            p[i] = p[i + 1] = '?';
        else if (p[i] >= 0x80 && p[i] < 0xa0 && (i == 0 || p[i - 1] < 0x80))
            p[i] = '?'; /* no part of a character: a terminal of 8 bits may obey it */
    }
}

/* Formats into line as `vmlet: …\n` and returns the length with the newline. */
static size_t format(char *line, size_t size, const char *prefix, const char *fmt, va_list ap)
{
    int head = snprintf(line, size, "vmlet: %s", prefix);
    int body = vsnprintf(line + head, size - (size_t)head, fmt, ap);
    size_t len = (size_t)head + (body > 0 ? (size_t)body : 0);
    if (len > size - 2)
        len = size - 2;
    log_clean(line, len);
    line[len] = '\n';
    line[len + 1] = 0;
    return len + 1;
}

/* Whether a line can be written without waiting. A pipe that says POLLOUT has room for PIPE_BUF bytes, and a line is shorter;
 * a reader who went to sleep must not put the loop or a vCPU to sleep too. */
static bool has_room(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) != 0; /* an error is for write() to find */
}

static void put(const char *prefix, const char *fmt, va_list ap)
{
    char line[LINE_MAX_BYTES];
    int saved = errno;
    if (!has_room()) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        errno = saved;
        return;
    }
    uint64_t n = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);
    size_t head =
        n ? (size_t)snprintf(line, sizeof line, "vmlet: %llu messages lost: nobody read standard error\n",
                             (unsigned long long)n)
          : 0;
    size_t len = head + format(line + head, sizeof line - head, prefix, fmt, ap);
    if (write(STDERR_FILENO, line, len) < 0) {
        /* nobody left to tell */
    }
    errno = saved;
}

_Noreturn static void end_process(int status, char *line, size_t len)
{
    if (write(STDERR_FILENO, line, len) < 0) {
        /* the status still says it */
    }
    void (*hook)(int, const char *) = die_hook;
    die_hook = NULL; /* a die() inside the hook does not come back here */
    if (hook) {
        line[len - 1] = 0;
        hook(status, line + strlen("vmlet: "));
    }
    exit(status);
}

#define DIE(status_)                                                                                         \
    do {                                                                                                     \
        va_list ap;                                                                                          \
        va_start(ap, fmt);                                                                                   \
        char line[LINE_MAX_BYTES];                                                                           \
        size_t len = format(line, sizeof line, "", fmt, ap);                                                 \
        va_end(ap);                                                                                          \
        end_process(status_, line, len);                                                                     \
    } while (0)

void die(const char *fmt, ...)
{
    DIE(125);
}

void die_status(int status, const char *fmt, ...)
{
    DIE(status);
}

#define LOG_FUNCTION(name, level, prefix)                                                                    \
    void name(const char *fmt, ...)                                                                          \
    {                                                                                                        \
        if (log_level < (level))                                                                             \
            return;                                                                                          \
        va_list ap;                                                                                          \
        va_start(ap, fmt);                                                                                   \
        put(prefix, fmt, ap);                                                                                \
        va_end(ap);                                                                                          \
    }
LOG_FUNCTION(warn, LOG_LEVEL_WARNING, "")
LOG_FUNCTION(info, LOG_LEVEL_INFO, "")
LOG_FUNCTION(debug, LOG_LEVEL_DEBUG, "")

/* At most RATE_MESSAGES in a window. */
static void put_limited(struct bug_site *site, const char *fmt, va_list ap)
{
    uint64_t now = ns_on(CLOCK_MONOTONIC) + 1; /* never 0 */
    uint64_t start = atomic_load_explicit(&site->window, memory_order_relaxed);
    if (start == 0 || now - start >= RATE_WINDOW_NS) {
        /* Two threads may both open a window: then a few lines more are shown, which harms nobody. */
        atomic_store_explicit(&site->window, now, memory_order_relaxed);
        atomic_store_explicit(&site->shown, 0, memory_order_relaxed);
    }
    if (atomic_fetch_add_explicit(&site->shown, 1, memory_order_relaxed) >= RATE_MESSAGES) {
        atomic_fetch_add_explicit(&site->held, 1, memory_order_relaxed);
        return;
    }
    uint64_t held = atomic_exchange_explicit(&site->held, 0, memory_order_relaxed);
    char prefix[64] = "guest: ";
    if (held)
        snprintf(prefix, sizeof prefix, "guest (%llu like this not shown): ", (unsigned long long)held);
    put(prefix, fmt, ap);
}

void guest_bug_at(struct bug_site *site, const char *fmt, ...)
{
    atomic_fetch_add_explicit(&guest_bugs, 1, memory_order_relaxed);
    if (log_level < LOG_LEVEL_WARNING)
        return;
    va_list ap;
    va_start(ap, fmt);
    put_limited(site, fmt, ap);
    va_end(ap);
}

void guest_note_at(struct bug_site *site, enum log_level level, const char *fmt, ...)
{
    if (log_level < level)
        return;
    va_list ap;
    va_start(ap, fmt);
    put_limited(site, fmt, ap);
    va_end(ap);
}
