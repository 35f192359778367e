// SPDX-License-Identifier: MIT
/* The console watcher: see include/guest/watch.h. */
#include "guest/watch.h"

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
        p += strspn(p, " ");
    }
    return p;
}

static void line_end(struct watch *w)
{
    w->line[w->len] = 0;
    w->len = 0;
    const char *text = message(w->line);
    enum watch_event event = WATCH_LINE_END;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (!strncmp(text, beginnings[i].text, strlen(beginnings[i].text)))
            event = beginnings[i].event;
    w->event(w->arg, event, text);
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
