// SPDX-License-Identifier: MIT
/* What a guest starts with: see include/guest/payload.h. */
#include "guest/payload.h"

#include "devices/platform.h"
#include "devices/serial.h"
#include "guest/acpi.h"
#include "guest/drivers.h"
#include "guest/identity.h"
#include "guest/initramfs.h"
#include "guest/mptable.h"
#include "guest/network.h"
#include "guest/requested.h"
#include "guest/share.h"
#include "kvm/host/log.h"
#include "mem/ram.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    STATUS_CANNOT_RUN = 126,
    SEED_BYTES = 64,
};

/* What would go into the archive, where there is none: nobody's wish is dropped in silence. */
static void refuse_additions(const struct machine_options *o, const char *why)
{
    const char *word = o->add.n         ? "--add"
                       : o->module.n    ? "--module"
                       : o->modules_dir ? "--modules-dir"
                       : o->env.n       ? "--env"
                       : o->cwd         ? "--cwd"
                       : o->user        ? "--user"
                                        : NULL;
    if (word)
        die("%s: no initramfs is generated: %s", word, why);
}

/* The archive that the run needs beside the user's own initrds, or NULL for none. */
static struct cpio *archive_build(const struct machine_options *o, const struct boot_info *info,
                                  const char *kernel)
{
    struct initramfs_error error;
    if (!info->is_linux) {
        if (o->command)
            die("%s: it is no Linux kernel, and runs no command (drop what follows --)", kernel);
        refuse_additions(o, "the kernel is no Linux kernel");
        return NULL;
    }
    if (!o->command && (o->initrd.n || o->nodefaults)) {
        refuse_additions(o, o->initrd.n ? "-i without a command brings the initrd"
                                        : "--nodefaults without a command");
        return NULL;
    }
    if (info->is_32bit && o->command) {
        die_status(
            STATUS_CANNOT_RUN,
            "%s: a 32-bit kernel runs no 64-bit command (use a 64-bit kernel, or -i with an initrd of its "
            "own)",
            kernel);
    }
    if (info->is_32bit) {
        warn("%s: a 32-bit kernel needs an initrd of its own (-i FILE)", kernel);
        return NULL;
    }
    struct drivers drivers = {0};
    requested_drivers(o, &drivers);
    network_drivers(o, &drivers);
    struct identity identity;
    if (!identity_make(&identity, o->env.v, o->user, "/etc/passwd", "/etc/group", error.text,
                       sizeof error.text))
        die("%s", error.text);
    if (o->cwd && *o->cwd != '/')
        die("--cwd %s: a folder of the guest, from / on", o->cwd);
    bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    struct initramfs_spec spec = {
        .argv = o->command,
        .env = identity.env,
        .cwd = o->cwd,
        .uid = identity.uid,
        .gid = identity.gid,
        .pty = tty,
        .pty_stderr = tty && isatty(STDERR_FILENO),
        .add = o->add.v,
        .modules = o->module.v,
        .wanted = drivers.names,
        .hostname = o->name,
        .dhcp = network_has_peers(o) && !o->no_dhcp,
        .cards = o->n_nets && !o->default_net,
        .shares = share_list(o),
        .host_root = share_has_root(o),
        .shell = share_has_root(o) && !o->command ? share_shell() : NULL,
        .modules_dir = o->modules_dir,
        .kernel_path = kernel,
        .kernel_release = info->release[0] ? info->release : NULL,
    };
    if (!spec.shares)
        die("--share: out of memory");
    struct cpio *archive = initramfs_build(&spec, &error);
    free((void *)(uintptr_t)spec.shares);
    if (!archive)
        die_status(error.status, "%s", error.text);
    return archive;
}

void payload_open(struct payload *p, const struct machine_options *o)
{
    char err[512];
    *p = (struct payload){.options = o, .kernel = o->kernel ? o->kernel : machine_find_kernel()};
    if (!p->kernel)
        die("no kernel: %s (name it with -k FILE)", machine_no_kernel());
    p->boot = boot_open(p->kernel, err, sizeof err);
    if (!p->boot)
        die("%s", err);
    p->is_32bit = boot_info(p->boot)->is_32bit;
    p->narrow = boot_info(p->boot)->is_linux && boot_info(p->boot)->is_32bit;
    p->archive = archive_build(o, boot_info(p->boot), p->kernel);
}

/* Where the tables are, or 0: a machine too small for their place is a bare-metal program's, and goes without. */
static uint64_t tables_load(struct ram *ram, unsigned cpus, unsigned phys_bits)
{
    static uint8_t tables[ACPI_SIZE];
    struct acpi_board facts = {
        .cpus = cpus,
        .ram_size = ram->size,
        .phys_bits = phys_bits,
        .serial = (1 << SERIAL_PORTS) - 1,
        .rtc = true,
        .pci = true,
        .pvpanic_port = PVPANIC_PORT,
    };
    size_t size = acpi_build(&facts, tables), at = (size + 15) & ~(size_t)15;
    if (!size || !ram_write(ram, ACPI_BASE, tables, size))
        return 0;
    if (at <= ACPI_SIZE - MPTABLE_SIZE) {
        uint8_t pointer[MPTABLE_POINTER_SIZE];
        size = mptable_build(cpus, facts.pci, (uint32_t)(ACPI_BASE + at), tables, pointer);
        if (!ram_write(ram, ACPI_BASE + at, tables, size) ||
            !ram_write(ram, MPTABLE_POINTER_AT, pointer, sizeof pointer))
            return 0;
    }
    return ACPI_BASE;
}

void payload_load(struct payload *p, struct ram *ram, unsigned cpus, unsigned phys_bits,
                  struct boot_state *state)
{
    const struct machine_options *o = p->options;
    const struct boot_info *info = boot_info(p->boot);
    struct boot_source *sources = calloc(o->initrd.n + 1, sizeof *sources);
    void *archive = NULL;
    unsigned n = 0;
    if (!sources)
        die("out of memory");
    for (size_t i = 0; i < o->initrd.n; i++)
        sources[n++].path = o->initrd.v[i];
    if (p->archive) {
        size_t size = cpio_size(p->archive);
        archive = malloc(size);
        if (!archive)
            die("initramfs: no memory for %zu bytes", size);
        if (!cpio_write(p->archive, archive))
            die("%s", cpio_error(p->archive));
        cpio_free(p->archive);
        sources[n++] = (struct boot_source){.data = archive, .size = size};
    }

    uint8_t seed[SEED_BYTES];
    bool seeded = getrandom(seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed;
    struct boot_config config = {
        .ram = ram,
        .cmdline = info->is_linux ? machine_cmdline(o) : o->params,
        .initrds = sources,
        .n_initrds = n,
        .rsdp = tables_load(ram, cpus, phys_bits),
        .rng_seed = seeded ? seed : NULL,
        .rng_seed_size = sizeof seed,
    };
    char err[512];
    if (!boot_load(p->boot, &config, state, err, sizeof err))
        die("%s", err);
    explicit_bzero(seed, sizeof seed);
    free(archive);
    free(sources);
    boot_close(p->boot);
}
