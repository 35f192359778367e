// SPDX-License-Identifier: MIT
/* The console watcher: see include/guest/watch.h. */
#include "guest/watch.h"

#include <stdbool.h>
#include <string.h>

static const struct {
    const char *text;
    enum watch_event event;
} beginnings[] = {
    {"Kernel panic - not syncing", WATCH_PANIC    },
    {"---[ end Kernel panic",      WATCH_PANIC_END},
    {"reboot: System halted",      WATCH_HALTED   },
};

/* Skips what printk puts before a message: `<4>`, then any number of `[ … ]` fields. */
static const char *message(const char *p)
{
    if (p[0] == '<' && p[1] && strspn(p + 1, "0123456789") && p[1 + strspn(p + 1, "0123456789")] == '>')
        p = strchr(p, '>') + 1;
    while (*p == '[') {
        size_t inside = strspn(p + 1, " .0123456789TC");
        if (p[1 + inside] != ']')
            break;
        p += 1 + inside + 1;
        p += *p == ' '; /* one: a message may be indented */
    }
    return p;
}

/* Where the next time stamp of printk begins in p, `[    1.234567]`: seconds, a point, six digits. NULL: there is none. */
static const char *stamp(const char *p)
{
    while ((p = strchr(p, '['))) {
        const char *q = p + 1 + strspn(p + 1, " ");
        size_t seconds = strspn(q, "0123456789");
        if (seconds && q[seconds] == '.' && strspn(q + seconds + 1, "0123456789") == 6 &&
            q[seconds + 7] == ']')
            return p;
        p++;
    }
    return NULL;
}

/* syslog's copies of the kernel's lines; a program that shows them (an earlier boot's log) reports nothing new. */
static bool is_quoted(const char *line, const char *at)
{
    static const char syslog[] = "kernel: ";
    size_t n = sizeof syslog - 1;
    return (size_t)(at - line) >= n && !memcmp(at - n, syslog, n);
}

static enum watch_event judge(const char *text)
{
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (!strncmp(text, beginnings[i].text, strlen(beginnings[i].text)))
            return beginnings[i].event;
    return WATCH_LINE_END;
}

static void line_end(struct watch *w)
{
    w->line[w->len] = 0;
    w->len = 0;
    const char *text = message(w->line);
    bool bare = text == w->line;
    enum watch_event event = judge(text);
    /* The kernel does not wait for a new line: its message may stand behind a prompt. */
    for (const char *p = w->line; event == WATCH_LINE_END && (p = stamp(p)); p++) {
        if (is_quoted(w->line, p))
            continue;
        event = judge(message(p));
        if (event != WATCH_LINE_END || bare)
            text = message(p);
        bare = false;
    }
    w->event(w->arg, event, text);
}

void watch_end(struct watch *w)
{
    if (w->len)
        line_end(w);
}

void watch_feed(struct watch *w, const void *bytes, size_t n)
{
    for (const char *p = bytes, *end = p + n; p < end; p++) {
        if (*p == '\n')
            line_end(w);
        else if (*p != '\r' && *p && w->len < WATCH_LINE)
            w->line[w->len++] = *p;
    }
}
