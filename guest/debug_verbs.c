// SPDX-License-Identifier: MIT
/* Looking at a guest that hangs, and prodding it: see include/guest/debug_verbs.h. */
#include "guest/debug_verbs.h"

#include "guest/balloon.h"
#include "guest/machine_priv.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"
#include "mem/ram.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *dump(struct machine *m, const char *word, FILE *out)
{
    if (word)
        return "debug --dump takes no further words";
    char *text = NULL;
    size_t size;
    FILE *all = open_memstream(&text, &size);
    if (!all)
        return "out of memory";
    for (unsigned i = 0; i < vcpus_count(m->vcpus); i++) {
        naming_learn(m->symbols, vcpus_get(m->vcpus, i));
        vcpu_dump(vcpus_get(m->vcpus, i), all);
    }
    fclose(all);
    naming_print(m->symbols, text ? text : "", out);
    free(text);
    return NULL;
}

static const char *nmi(struct machine *m, const char *word, FILE *out)
{
    uint64_t first = 0, n = vcpus_count(m->vcpus);
    (void)out;
    if (word) {
        const char *error = opts_u64(word, &first);
        if (error)
            return ctl_say("debug --nmi %.20s: %s", word, error);
        if (first >= n)
            return ctl_say("debug --nmi %.20s: the guest's CPUs are 0 to %u", word, (unsigned)n - 1);
        n = first + 1;
    }
    for (uint64_t i = first; i < n; i++) {
        int r = vcpu_nmi(vcpus_get(m->vcpus, (unsigned)i));
        if (r < 0)
            return ctl_say("CPU %u: KVM_NMI: %s", (unsigned)i, strerror(-r));
    }
    return NULL;
}

static const char *sysrq(struct machine *m, const char *word, FILE *out)
{
    (void)out;
    if (!word || strlen(word) != 1 || *word <= ' ' || *word > '~')
        return "debug --sysrq takes one letter (h lets the kernel list them)";
    if (serial_rx_room(m->serial[0]) < 2)
        return "the guest does not read COM1: what was sent to it before is still there";
    serial_break(m->serial[0]);
    (void)!serial_rx(m->serial[0], word, 1);
    return NULL;
}

static const struct {
    const char *name, *letter; /* lkvm's letter */
    const char *(*fn)(struct machine *m, const char *word, FILE *out);
} actions[] = {
    {"--dump",  "-d", dump },
    {"--nmi",   "-m", nmi  },
    {"--sysrq", "-s", sysrq},
};

const char *debug_verb(struct machine *m, int argc, char **argv, FILE *out)
{
    if (argc > 2)
        return "debug takes one of --dump, --nmi [CPU], --sysrq CHAR";
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (!argc || !strcmp(argv[0], actions[i].name) || !strcmp(argv[0], actions[i].letter))
            return actions[i].fn(m, argc > 1 ? argv[1] : NULL, out);
    return ctl_say("debug %.40s: it is --dump, --nmi [CPU] or --sysrq CHAR", argv[0]);
}

/* --- stat */

static uint64_t resident(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*s %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void memory(struct machine *m, FILE *out)
{
    fprintf(out,
            "memory   %" PRIu64 " KiB are the guest's, %" PRIu64
            " KiB of the host are in use by it and vmlet\n",
            m->ram->size >> 10, resident() >> 10);
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)SECOND;
}

static void cpu(struct vcpu *vcpu, FILE *out)
{
    struct vcpu_stats stats;
    vcpu_stats(vcpu, &stats);
    fprintf(out, "vCPU %-3u %.3f s of a processor, %" PRIu64 " exits", vcpu_index(vcpu),
            seconds(vcpu_cpu_ns(vcpu)), stats.total);
    const char *between = ": ";
    for (unsigned i = 0; i < VCPU_EXITS; i++) {
        const char *name = vcpu_exit_name(i);
        if (!stats.exits[i])
            continue;
        if (name)
            fprintf(out, "%s%s %" PRIu64, between, name, stats.exits[i]);
        else
            fprintf(out, "%sreason %u %" PRIu64, between, i, stats.exits[i]);
        between = ", ";
    }
    fputc('\n', out);
}

const char *stat_verb(struct machine *m, int argc, char **argv, FILE *out)
{
    bool all = !argc;
    if (argc > 1 || (argc && strcmp(argv[0], "-m") && strcmp(argv[0], "--memory")))
        return "stat takes -m or nothing";
    if (all) {
        uint64_t now = loop_now(m->loop);
        fprintf(out, "process  %ld\n", (long)getpid());
        fprintf(out, "state    %s%s%s\n", m->hold.by ? "stands still" : "runs",
                m->hold.by & HOLD_USER ? ", paused" : "", m->hold.by & HOLD_GDB ? ", held by gdb" : "");
        fprintf(out, "time     %.3f s since the start, %.3f s for the guest\n", seconds(now - m->began),
                seconds(hold_now(&m->hold) - m->began));
    }
    memory(m, out);
    if (!balloon_memory(m, out))
        return ctl_later;
    for (unsigned i = 0; all && i < vcpus_count(m->vcpus); i++)
        cpu(vcpus_get(m->vcpus, i), out);
    return NULL;
}
