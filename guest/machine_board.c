// SPDX-License-Identifier: MIT
/* What the guest finds: CPUs, RAM, and the devices, in the order in which they are made. See guest/machine_priv.h. */
#include "guest/machine_priv.h"

#include "devices/platform.h"
#include "devices/pm.h"
#include "guest/acpi.h"
#include "guest/network.h"
#include "guest/requested.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/vm.h"
#include "mem/ram.h"
#include "pci/bus.h"
#include "pci/host.h"

#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

unsigned machine_cpus(const struct machine_options *o, struct vm *vm)
{
    unsigned most = vm_max_vcpus(vm);
    if (most > ACPI_MAX_CPUS) /* no guest finds more than the tables tell of */
        most = ACPI_MAX_CPUS;
    if (o->cpus > most)
        die("--cpus %u: KVM here gives a guest at most %u", o->cpus, most);
    if (o->cpus)
        return o->cpus;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (unsigned long)online > most ? most : (unsigned)online;
}

static uint64_t wall_now(void *ctx)
{
    (void)ctx;
    return ns_on(CLOCK_REALTIME);
}

static uint64_t guest_now(void *ctx)
{
    return hold_now(ctx);
}

static uint64_t default_mem(unsigned cpus)
{
    struct sysinfo si;
    uint64_t want = 64 * MIB * (cpus + 3);
    if (sysinfo(&si) == 0) {
        uint64_t most = (uint64_t)si.totalram * si.mem_unit / 5 * 4;
        if (want > most)
            want = most & ~(MIB - 1);
    }
    return want;
}

struct ram *machine_ram(const struct machine_options *o, unsigned cpus)
{
    char err[512];
    struct ram_opts opts = {
        .size = (o->mem ? o->mem : default_mem(cpus)) & ~(uint64_t)(RAM_PAGE - 1),
        .kind = o->hugetlbfs    ? RAM_HUGETLBFS
                : o->mem_file   ? RAM_FILE
                : o->mem_shared ? RAM_MEMFD
                                : RAM_ANON,
        .path = o->hugetlbfs ? o->hugetlbfs : o->mem_file,
        .prealloc = o->mem_prealloc,
    };
    struct ram *ram = ram_new(&opts, err, sizeof err);
    if (!ram)
        die("%s", err);
    return ram;
}

static struct device *device_or_die(struct machine *m, const struct device_class *class, const char *options)
{
    char err[512];
    struct device *dev = device_new(&m->board, class, NULL, options, err, sizeof err);
    if (!dev)
        die("%s", err);
    return dev;
}

static void build_devices(struct machine *m)
{
    static const char *const serial_index[SERIAL_PORTS] = {"index=0,shadow", "index=1", "index=2", "index=3"};
    char err[512];
    for (unsigned i = 0; i < SERIAL_PORTS; i++)
        m->serial[i] = device_or_die(m, &serial_class, serial_index[i]);
    device_or_die(m, &pci_host_class, NULL);
    if (!requested_build(m->options, &m->board, err, sizeof err) ||
        !network_build(m->network, &m->board, err, sizeof err))
        die("%s", err);
    if (!device_of_class(&m->board, &rtc_class)) /* --device rtc,base=… */
        device_or_die(m, &rtc_class, NULL);
    device_or_die(m, &i8042_class, NULL);
    m->pm = device_or_die(m, &pm_class, NULL);
    device_or_die(m, &reset_class, NULL);
    device_or_die(m, &pvpanic_class, NULL);
}

void machine_build_board(struct machine *m, unsigned cpus, unsigned phys_bits)
{
    char err[512];
    region_init_container(&m->memory_root, "system", REGION_ALL);
    region_init_container(&m->io_root, "io", 0x10000);
    space_init(&m->memory, &m->memory_root, "memory");
    space_init(&m->io, &m->io_root, "I/O");
    m->board = (struct board){
        .memory = &m->memory,
        .io = &m->io,
        .mem_root = &m->memory_root,
        .io_root = &m->io_root,
        .irqs = m->irqs,
        .loop = m->loop,
        .net = &m->net,
        .work = m->work,
        .cpus = cpus,
        .wall = {wall_now,  NULL    },
        .guest = {guest_now, &m->hold},
        .end = machine_on_board_end,
        .end_ctx = m,
        .devices_tail = &m->board.devices,
    };
    transaction_begin();
    ram_map(m->ram, &m->memory_root);
    build_devices(m);
    if (!pci_bus_place(m->board.pci, m->ram->size, phys_bits, err, sizeof err))
        die("%s", err);
    transaction_commit();
    if (m->memory.changed || m->io.changed) /* a commit that found no memory, and would try again */
        die("the guest's memory map: out of memory");
}
