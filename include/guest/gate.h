/* SPDX-License-Identifier: MIT
 *
 * The gate, --fail-on LIST: what makes a run fail although the guest ended well. One table of words in guest/gate.c; who sees such
 * a thing calls gate_catch() with its word and a sentence. The first one counts: the run goes on to its own end, and then has status
 * 123, reason=gate and the sentence as detail, unless it ended worse (a panic, the time up, a signal).
 *
 * gate_catch(): any thread, any lock below LOCK_LOOP; the rest at set-up.
 */
#ifndef GUEST_GATE_H
#define GUEST_GATE_H

#include "guest/klog.h"

#include <stdint.h>

/* The kinds of trouble in the kernel's log (enum klog_kind), and: */
enum gate_word {
    GATE_LINT = KLOG_KINDS, /* --lint found something */
    GATE_TESTS, /* a test of the guest's failed, as guest/ktap.h reads them, or none was seen at all */
    GATE_WORDS,
};

struct gate {
    uint32_t on; /* set of 1 << enum gate_word */
    /* Called for each that is caught. */
    void (*caught)(void *ctx, const char *sentence);
    void *ctx;
};

/* "lint,…" into a set, which it adds to. NULL, or a sentence. */
const char *gate_parse(const char *list, uint32_t *on);

/* gate may be NULL. */
void gate_catch(const struct gate *gate, enum gate_word word, const char *sentence);

#endif
