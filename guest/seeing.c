// SPDX-License-Identifier: MIT
/* See include/guest/seeing.h. */
#include "guest/seeing.h"

#include "guest/fault.h"
#include "guest/lint.h"
#include "guest/machine.h"
#include "guest/naming.h"
#include "guest/network.h"
#include "guest/trace.h"
#include "kvm/host/log.h"
#include "kvm/vcpu.h"
#include "mem/device.h"
#include "mem/maplog.h"

#include <unistd.h>

struct seeing {
    struct faults *faults;
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

/* After where(), on the same thread. */
static const char *name(void *ctx, uint64_t pc, char *buf, size_t size)
{
    struct symbols *symbols = ctx;
    *buf = 0;
    naming_learn(symbols, vcpu_self());
    return symbols ? symbols_name(symbols, pc, buf, size) : buf;
}

static const char *set_link(void *network, const char *id, const char *word)
{
    return network_link(network, id, word);
}

struct seeing *seeing_new(struct board *board, struct network *network, const struct machine_options *o,
                          const struct gate *gate, struct symbols *symbols, uint64_t patience)
{
    static struct seeing s; /* one process, one guest */
    char err[512] = "";
    if (o->trace_file && !o->trace.n)
        die("--trace-file: nothing is traced (say what with --trace LIST)");
    if (o->faults.n)
        s.faults = faults_new(&(struct fault_config){board, &o->faults, set_link, network}, err, sizeof err);
    if (o->trace.n && !*err)
        s.trace = trace_new(&(struct trace_config){.board = board,
                                                   .list = &o->trace,
                                                   .file = o->trace_file,
                                                   .patience = patience,
                                                   .text_fd = STDERR_FILENO,
                                                   .where = where,
                                                   .name = name,
                                                   .ctx = symbols},
                            err, sizeof err);
    if (o->lint && !*err)
        s.lint = lint_new(
            &(struct lint_config){.board = board, .gate = gate, .where = where, .name = name, .ctx = symbols},
            err, sizeof err);
    if (*err)
        die("%s", err);
    maplog_new(board->memory, trace_map, s.trace);
    maplog_new(board->io, trace_map, s.trace);
    return &s;
}

void seeing_counts(const struct seeing *s, char *out, size_t size)
{
    if (s->faults)
        faults_counts(s->faults, out, size);
}

void seeing_end(struct seeing *s, uint64_t ns)
{
    if (s->faults)
        faults_end(s->faults);
    if (s->lint)
        lint_end(s->lint);
    if (s->trace)
        trace_drain(s->trace, ns);
}
