// SPDX-License-Identifier: MIT
/* See include/guest/seeing.h. */
#include "guest/seeing.h"

#include "guest/lint.h"
#include "guest/machine.h"
#include "guest/trace.h"
#include "kvm/vcpu.h"
#include "mem/device.h"
#include "mem/maplog.h"

#include <stdio.h>
#include <unistd.h>

struct seeing {
    struct trace *trace;
    struct lint *lint;
};

static bool where(void *ctx, unsigned *cpu, uint64_t *pc)
{
    struct vcpu *self = vcpu_self();
    (void)ctx;
    if (!self)
        return false;
    *cpu = vcpu_index(self);
    *pc = vcpu_pc(self);
    return true;
}

struct seeing *seeing_new(struct board *board, const struct machine_options *o, const struct gate *gate,
                          uint64_t patience, char *err, size_t errlen)
{
    static struct seeing the_one; /* one process, one guest */
    struct seeing *s = &the_one;
    if (o->trace_file && !o->trace.n) {
        snprintf(err, errlen, "--trace-file: nothing is traced (say what with --trace LIST)");
        return NULL;
    }
    if (o->trace.n) {
        s->trace = trace_new(&(struct trace_config){.board = board,
                                                    .list = &o->trace,
                                                    .file = o->trace_file,
                                                    .patience = patience,
                                                    .text_fd = STDERR_FILENO,
                                                    .where = where},
                             err, errlen);
        if (!s->trace)
            return NULL;
    }
    if (o->lint && !(s->lint = lint_new(&(struct lint_config){.board = board, .gate = gate, .where = where},
                                        err, errlen)))
        return NULL;
    maplog_new(board->memory, trace_map, s->trace);
    maplog_new(board->io, trace_map, s->trace);
    return s;
}

void seeing_end(struct seeing *s, uint64_t ns)
{
    if (s->lint)
        lint_end(s->lint);
    if (s->trace)
        trace_drain(s->trace, ns);
}
