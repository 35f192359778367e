// SPDX-License-Identifier: MIT
/* The machine under the gdb stub: see include/guest/debugger.h. */
#include "guest/debugger.h"

#include "guest/control.h"
#include "guest/gdb.h"
#include "guest/machine_priv.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"
#include "mem/access.h"

#include <stdlib.h>
#include <string.h>

struct debugger {
    struct debugger_config config;
    struct gdb *gdb;
    struct gdb_server *server;
    struct loop_task event;
};

static struct vcpu *cpu_of(void *ctx, unsigned cpu)
{
    struct debugger *d = ctx;
    return vcpus_get(d->config.vcpus, cpu);
}

static unsigned target_cpus(void *ctx)
{
    struct debugger *d = ctx;
    return vcpus_count(d->config.vcpus);
}

static void target_stop(void *ctx)
{
    struct debugger *d = ctx;
    (void)hold_take(machine_hold(d->config.machine), HOLD_GDB);
}

static void target_resume(void *ctx)
{
    struct debugger *d = ctx;
    (void)hold_release(machine_hold(d->config.machine), HOLD_GDB);
}

static void target_hold(void *ctx, unsigned cpu, bool on)
{
    vcpu_debug_hold(cpu_of(ctx, cpu), on);
}

static bool target_regs_get(void *ctx, unsigned cpu, struct vcpu_regs *regs)
{
    return vcpu_regs_get(cpu_of(ctx, cpu), regs) == 0;
}

static bool target_regs_set(void *ctx, unsigned cpu, const struct vcpu_regs *regs)
{
    return vcpu_regs_set(cpu_of(ctx, cpu), regs) == 0;
}

static bool target_translate(void *ctx, unsigned cpu, uint64_t va, uint64_t *gpa)
{
    return vcpu_translate(cpu_of(ctx, cpu), va, gpa);
}

static bool target_read(void *ctx, uint64_t gpa, void *data, size_t n)
{
    struct debugger *d = ctx;
    return dma_read(d->config.memory, gpa, data, n);
}

static bool target_write(void *ctx, uint64_t gpa, const void *data, size_t n)
{
    struct debugger *d = ctx;
    return dma_write(d->config.memory, gpa, data, n);
}

static bool target_arm(void *ctx, unsigned cpu, const struct vcpu_debug *debug)
{
    return vcpu_debug_set(cpu_of(ctx, cpu), debug) == 0;
}

static bool target_inject(void *ctx, unsigned cpu)
{
    return vcpu_debug_inject(cpu_of(ctx, cpu)) == 0;
}

static const char *target_state(void *ctx, unsigned cpu)
{
    return vcpu_state_name(cpu_of(ctx, cpu));
}

/* Words that only look; gdb has its own for all else, and who reaches the port may be another user. */
static const char *target_monitor(void *ctx, char *line, FILE *out)
{
    struct debugger *d = ctx;
    size_t n = strcspn(line, " \t");
    if ((n != 4 || (memcmp(line, "info", 4) && memcmp(line, "help", 4))))
        return "monitor takes the words of `vmlet info NAME …`: monitor info mtree, monitor info irq … "
               "(monitor help)";
    return machine_command(d->config.machine, line, out);
}

static void target_kill(void *ctx)
{
    struct debugger *d = ctx;
    machine_stop(d->config.machine, "killed by gdb");
}

static const struct gdb_target target = {
    .cpus = target_cpus,
    .stop = target_stop,
    .resume = target_resume,
    .hold = target_hold,
    .regs_get = target_regs_get,
    .regs_set = target_regs_set,
    .translate = target_translate,
    .read = target_read,
    .write = target_write,
    .arm = target_arm,
    .inject = target_inject,
    .state = target_state,
    .monitor = target_monitor,
    .kill = target_kill,
};

static void on_event(void *arg)
{
    struct debugger *d = arg;
    struct machine *m = d->config.machine;
    lock_take(&m->end_lock);
    bool over = m->result.reason != END_NONE;
    lock_drop(&m->end_lock);
    if (over)
        return; /* the step that ended the machine: gdb is to hear of the end */
    gdb_events(d->gdb);
    gdb_server_send(d->server);
}

void debugger_event(struct debugger *d, struct vcpu *vcpu, const struct vcpu_debug_event *event)
{
    gdb_event(d->gdb, vcpu_index(vcpu), event);
    loop_task_post(&d->event);
}

struct debugger *debugger_start(const struct debugger_config *config)
{
    char err[512];
    struct debugger *d = calloc(1, sizeof *d);
    if (!vm_can_debug(config->vm))
        die("--gdb: KVM here cannot debug guests (it has no KVM_CAP_SET_GUEST_DEBUG)");
    if (d) {
        d->config = *config;
        d->gdb = gdb_new(&target, d, config->wide);
    }
    if (!d || !d->gdb)
        die("--gdb: out of memory");
    loop_task_init(config->loop, &d->event, on_event, d);
    d->server = gdb_server_new(config->loop, d->gdb, config->where, err, sizeof err);
    if (!d->server)
        die("%s", err);
    if (config->wait)
        (void)hold_take(machine_hold(config->machine), HOLD_GDB);
    return d;
}

void debugger_end(struct debugger *d, int status)
{
    if (!d)
        return;
    loop_task_cancel(&d->event);
    gdb_exited(d->gdb, status);
    gdb_server_send(d->server);
    gdb_server_free(d->server);
    gdb_free(d->gdb);
    free(d);
}
