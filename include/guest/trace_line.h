/* SPDX-License-Identifier: MIT
 *
 * One line of a trace in words and as JSON: see include/guest/trace.h. Pure functions, any thread, no locks. Both end with a
 * newline, are cut to fit without losing their form, and return their length.
 */
#ifndef GUEST_TRACE_LINE_H
#define GUEST_TRACE_LINE_H

#include "mem/watch.h"

enum {
    TRACE_TEXT = 1024, /* room enough for any line */
    TRACE_TIME = 12,   /* what the time takes at its beginning, for a day */
    TRACE_JSON = 4096,
    TRACE_NAME = 128, /* of code */
};

struct trace_line {
    uint64_t time;
    bool has_cpu;
    unsigned cpu;
    uint64_t pc;
    const char *at;              /* its name; NULL or "": none known */
    const struct device *dev;    /* NULL: no device's; then op and text are all there is */
    const char *op;              /* "mem", "line" */
    const struct watch_event *e; /* a device's */
    const char *led;             /* what it leads to; an interrupt's cause. NULL: nothing known */
    const char *text;
};

size_t trace_text(const struct trace_line *line, char *buf, size_t size);
size_t trace_json(const struct trace_line *line, char *buf, size_t size);
/* The line before came again so many times, at last at that time. */
size_t trace_again_text(uint64_t time, uint64_t times, char *buf, size_t size);
size_t trace_lost_text(uint64_t n, char *buf, size_t size);
size_t trace_lost_json(uint64_t n, char *buf, size_t size);

#endif
