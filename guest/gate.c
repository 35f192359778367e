// SPDX-License-Identifier: MIT
/* The gate: see include/guest/gate.h. */
#include "guest/gate.h"

#include "kvm/host/opts.h"

#include <stdio.h>

#include <stddef.h>
#include <string.h>

static const char *word_of(unsigned i)
{
    return i < KLOG_KINDS ? klog_kind_name((enum klog_kind)i) : i == GATE_LINT ? "lint" : "tests";
}

static const char *unknown(const char *word, size_t n)
{
    char all[256] = "";
    for (unsigned i = 0; i < GATE_WORDS; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", word_of(i));
    return opts_say("there is no `%.*s` (%s)", n > 40 ? 40 : (int)n, word, all);
}

const char *gate_parse(const char *list, uint32_t *on)
{
    for (;; list++) {
        size_t n = strcspn(list, ",");
        unsigned i = 0;
        while (i < GATE_WORDS && (strlen(word_of(i)) != n || memcmp(word_of(i), list, n)))
            i++;
        if (i == GATE_WORDS)
            return unknown(list, n);
        *on |= 1u << i;
        list += n;
        if (!*list)
            return NULL;
    }
}

void gate_catch(const struct gate *gate, enum gate_word word, const char *sentence)
{
    if (gate && gate->on >> word & 1)
        gate->caught(gate->ctx, sentence);
}
