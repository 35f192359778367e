// SPDX-License-Identifier: MIT
/* Names in what a run tells: see include/guest/naming.h. */
#include "guest/naming.h"

#include "guest/machine.h"
#include "kvm/host/log.h"
#include "kvm/vcpu.h"

#include <string.h>

enum {
    LINE = 1024,
};

/* Whether a word stands in the kernel's parameters. */
static bool has_word(const char *params, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = params; p && (p = strstr(p, word)); p += n)
        if ((p == params || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

struct symbols *naming_open(const struct machine_options *o)
{
    char err[1024];
    if (!o->symbols)
        return NULL;
    struct symbols *s = symbols_open(o->symbols, err, sizeof err);
    if (!s)
        die("%s", err);
    if (has_word(o->params, "nokaslr"))
        symbols_learn_unmoved(s);
    return s;
}

void naming_learn(struct symbols *s, struct vcpu *vcpu)
{
    static _Atomic bool told; /* one process, one guest */
    uint64_t lstar, idt;
    if (!s || symbols_placed(s))
        return;
    vcpu_entries(vcpu, &lstar, &idt);
    if (!symbols_learn(s, lstar, idt) && !told) {
        told = true;
        warn("--symbols: they are of another kernel: its entry for system calls is not where the guest's is");
    }
}

void naming_line(const struct symbols *s, const char *line, char *buf, size_t size)
{
    if (s)
        symbols_line(s, line, buf, size);
    else
        snprintf(buf, size, "%s", line);
}

/* The next line of *text, with names; NULL: there is none. */
static const char *next_line(const struct symbols *s, const char **text, char *buf, size_t size, bool *named)
{
    char line[LINE];
    size_t n = strcspn(*text, "\n"), cut = n < sizeof line ? n : sizeof line - 1;
    if (!**text)
        return NULL;
    memcpy(line, *text, cut);
    line[cut] = 0;
    *text += n + ((*text)[n] == '\n');
    *named |= s && symbols_line(s, line, buf, size);
    if (!s)
        naming_line(s, line, buf, size);
    return buf;
}

bool naming_any(const struct symbols *s, const char *text)
{
    char buf[2 * LINE];
    bool named = false;
    while (next_line(s, &text, buf, sizeof buf, &named) && !named)
        ;
    return named;
}

void naming_warn(const struct symbols *s, const char *text)
{
    char buf[2 * LINE];
    bool named = false;
    for (const char *line; (line = next_line(s, &text, buf, sizeof buf, &named));)
        warn("  %s", line);
}

void naming_print(const struct symbols *s, const char *text, FILE *out)
{
    char buf[2 * LINE];
    bool named = false;
    for (const char *line; (line = next_line(s, &text, buf, sizeof buf, &named));)
        fprintf(out, "%s\n", line);
}
