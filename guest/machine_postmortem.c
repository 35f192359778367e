// SPDX-License-Identifier: MIT
/*
 * A Linux guest that ended before anybody heard of its userspace: one paragraph that says where it stood, what it did last, and
 * what its kernel was built without. The tables are guest/postmortem.c's; this file knows the run.
 *
 * Said where the run ended badly and its init never called: always when the kernel printed nothing; otherwise only when its
 * configuration lacks something that it needed, as the log says the rest.
 */
#include "guest/image.h"
#include "guest/kconfig.h"
#include "guest/machine_priv.h"
#include "guest/payload.h"
#include "guest/postmortem.h"
#include "kvm/host/log.h"

#include <string.h>

void machine_note_kernel(struct machine *m, const struct payload *payload)
{
    const struct boot_info *info = boot_info(payload->boot);
    m->kernel.is_linux = info->is_linux;
    m->kernel.archive = payload->archive != NULL;
    m->kernel.path = payload->kernel;
    snprintf(m->kernel.release, sizeof m->kernel.release, "%s", info->release);
    const char *slash = strrchr(payload->kernel, '/');
    m->kernel.name = *info->release ? m->kernel.release : slash ? slash + 1 : payload->kernel;
}

static bool ended_badly(const struct result *r)
{
    switch (r->reason) {
    case END_TRIPLE_FAULT:
    case END_KVM_ERROR:
    case END_HALTED:
    case END_PANIC:
    case END_TIMEOUT:
        return true;
    case END_POWEROFF:
    case END_REBOOT:
        return r->command;
    default:
        return false;
    }
}

/* The first of the initrds that is compressed as this kernel cannot undo it decides. */
static const char *compression(const struct machine_options *o, const struct kconfig *config)
{
    const char *first = NULL;
    for (size_t i = 0; i < o->initrd.n; i++) {
        char err[64];
        uint8_t head[6];
        struct image image = {.what = "initrd", .name = o->initrd.v[i], .err = err, .err_size = sizeof err};
        if (!image_open(&image, o->initrd.v[i]))
            continue;
        if (image_read(&image, 0, head, sizeof head) && (first = postmortem_compression(head, sizeof head)) &&
            kconfig_get(config, first) != KCONFIG_YES)
            i = o->initrd.n;
        image_close(&image);
    }
    return first;
}

/* What the first CPU did last and where it stood. */
static void last_seen(struct machine *m, char *buf, size_t size)
{
    struct vcpu *boot_cpu = vcpus_get(m->vcpus, 0);
    char exit[96], where[128], named[256];
    vcpu_last_exit(boot_cpu, exit, sizeof exit);
    vcpu_where(boot_cpu, where, sizeof where);
    naming_learn(m->symbols, boot_cpu);
    naming_line(m->symbols, where, named, sizeof named);
    snprintf(buf, size, "; vCPU 0%s%s%s%s", *exit ? "'s last exit was " : " never left the guest", exit,
             *where ? ", it stood " : "", named);
}

void machine_postmortem(struct machine *m)
{
    const struct machine_options *o = m->options;
    struct result *r = &m->result;
    char missing[384] = "", seen[400] = "", said[160] = "";
    if (!m->kernel.is_linux || r->boot_ms || !ended_badly(r))
        return;
    bool silent = !r->last_line[0];
    struct kconfig *config = kconfig_find(m->kernel.path, m->kernel.release);
    if (config) {
        unsigned given = (silent && o->console == CONSOLE_SERIAL ? POSTMORTEM_SILENT : 0) |
                         (m->kernel.archive || o->initrd.n ? POSTMORTEM_INITRD : 0) |
                         (o->command ? POSTMORTEM_COMMAND : 0) | (o->disks.n ? POSTMORTEM_DISK : 0) |
                         (o->n_shares ? POSTMORTEM_SHARE : 0);
        (void)postmortem_missing(config, given, compression(o, config), missing, sizeof missing);
    }
    if (silent) {
        last_seen(m, seen, sizeof seen);
        snprintf(said, sizeof said, "printed nothing%s",
                 machine_log_is_cut(o) ? " (only warnings were asked of it: --kernel-log stderr shows all)"
                                       : "");
    } else {
        snprintf(said, sizeof said, "never got to its init");
    }
    if (*missing) {
        warn("the kernel %s %s%s; %s: it has %s", m->kernel.name, said, seen, kconfig_path(config), missing);
        size_t n = strlen(r->detail);
        snprintf(r->detail + n, sizeof r->detail - n, "%sthe kernel has %s", n ? "; " : "", missing);
    } else if (silent) {
        warn("the kernel %s %s%s; %s%s", m->kernel.name, said, seen, config ? kconfig_path(config) : "",
             config ? ": it has all that vmlet needs"
                    : "no config-RELEASE beside it says what it was built with");
    }
    kconfig_free(config);
}
