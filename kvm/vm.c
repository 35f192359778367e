/* SPDX-License-Identifier: MIT
 *
 * The VM's file descriptor: see vm.h. Everything here is a translation of arguments into one ioctl, except vm_open(),
 * which is the place where a user meets KVM for the first time; so its messages say what to do.
 */
#include "kvm/priv.h"
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What vmlet cannot do without. */
static const struct {
    int cap;
    const char *name, *use, *since;
} needed[] = {
    {KVM_CAP_USER_MEMORY,               "KVM_CAP_USER_MEMORY",               "guest memory",                 "2.6.25"},
    {KVM_CAP_READONLY_MEM,              "KVM_CAP_READONLY_MEM",              "read-only memory",             "3.7"   },
    {KVM_CAP_IRQCHIP,                   "KVM_CAP_IRQCHIP",                   "the interrupt controllers",    "2.6.20"},
    {KVM_CAP_PIT2,                      "KVM_CAP_PIT2",                      "the interval timer",           "2.6.31"},
    {KVM_CAP_IRQ_ROUTING,               "KVM_CAP_IRQ_ROUTING",               "message-signalled interrupts", "2.6.30"},
    {KVM_CAP_SIGNAL_MSI,                "KVM_CAP_SIGNAL_MSI",                "message-signalled interrupts", "3.5"   },
    {KVM_CAP_IRQFD,                     "KVM_CAP_IRQFD",                     "interrupts from eventfds",     "2.6.32"},
    {KVM_CAP_IOEVENTFD,                 "KVM_CAP_IOEVENTFD",                 "doorbells of virtio devices",  "2.6.32"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH,      "KVM_CAP_IOEVENTFD_ANY_LENGTH",      "doorbells of any width",       "4.4"   },
    {KVM_CAP_EXT_CPUID,                 "KVM_CAP_EXT_CPUID",                 "the guest's CPUID",            "2.6.26"},
    {KVM_CAP_MP_STATE,                  "KVM_CAP_MP_STATE",                  "telling a halted CPU",         "2.6.26"},
    {KVM_CAP_VCPU_EVENTS,               "KVM_CAP_VCPU_EVENTS",               "telling a halted CPU",         "2.6.33"},
    {KVM_CAP_SET_TSS_ADDR,              "KVM_CAP_SET_TSS_ADDR",              "real mode on Intel CPUs",      "2.6.24"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR,     "KVM_CAP_SET_IDENTITY_MAP_ADDR",     "real mode on Intel CPUs",      "2.6.32"},
    {KVM_CAP_IMMEDIATE_EXIT,            "KVM_CAP_IMMEDIATE_EXIT",            "pausing a CPU without a race", "4.12"  },
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
     "the log of written memory pages",                                                                      "5.2"   },
};

static int check(const struct vm *vm, int cap)
{
    return ioctl(vm->fd, KVM_CHECK_EXTENSION, (long)cap);
}

static void say(char *err, size_t err_size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(char *err, size_t err_size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, err_size, fmt, ap);
    va_end(ap);
}

/* The module to load, or NULL when the CPU shows no virtualization. The one question that KVM cannot be asked: it is
 * not there. */
static const char *module_of_cpu(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c >> 5 & 1))
        return "kvm_intel";
    if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 2 & 1))
        return "kvm_amd";
    return NULL;
}

/* The name of a group from /etc/group: getgrgid() would pull shared libraries into a static binary. */
static bool group_name(gid_t gid, char *name, size_t size)
{
    FILE *f = fopen("/etc/group", "re");
    char line[512];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        char *id = colon ? strchr(colon + 1, ':') : NULL;
        if (!id || strtoul(id + 1, NULL, 10) != gid)
            continue;
        *colon = 0;
        found = (size_t)snprintf(name, size, "%s", line) < size;
    }
    if (f)
        fclose(f);
    return found;
}

static void say_open(const char *path, int error, char *err, size_t n)
{
    struct stat st;
    char group[64];
    const char *module = module_of_cpu();

    if (error == ENOENT || error == ENXIO || error == ENODEV) {
        if (module)
            say(err, n, "%s: open: %s (load the module: modprobe %s)", path, strerror(error), module);
        else
            say(err, n,
                "%s: open: %s (this CPU shows no virtualization: switch on SVM or VT-x in the firmware, or "
                "nested "
                "virtualization in the hypervisor that this machine runs in)",
                path, strerror(error));
    } else if ((error == EACCES || error == EPERM) && stat(path, &st) == 0) {
        if (st.st_gid != 0 && (st.st_mode & 060) == 060 && group_name(st.st_gid, group, sizeof group))
            say(err, n,
                "%s: open: %s (it belongs to group %s: run as root `usermod -aG %s YOUR-NAME`, then log in "
                "again)",
                path, strerror(error), group, group);
        else
            say(err, n,
                "%s: open: %s (its mode is %03o: run as root `chgrp kvm %s && chmod 660 %s`, and "
                "`usermod -aG kvm YOUR-NAME`, then log in again)",
                path, strerror(error), st.st_mode & 0777, path, path);
    } else {
        say(err, n, "%s: open: %s", path, strerror(error));
    }
}

static void say_create(const char *path, int error, char *err, size_t n)
{
    const char *remedy = "";
    if (error == EBUSY)
        remedy = " (another hypervisor, such as VirtualBox, has the CPU's virtualization: stop it)";
    else if (error == ENOMEM)
        remedy = " (the host is short of memory)";
    else if (error == EMFILE || error == ENFILE)
        remedy = " (raise `ulimit -n`)";
    else if (error == EOPNOTSUPP)
        remedy = " (virtualization is switched off in the firmware)";
    say(err, n, "%s: KVM_CREATE_VM: %s%s", path, strerror(error), remedy);
}

static bool check_caps(struct vm *vm, const char *path, char *err, size_t n)
{
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (check(vm, needed[i].cap) > 0)
            continue;
        say(err, n, "%s: this KVM has no %s, needed for %s (Linux %s and later have it)", path,
            needed[i].name, needed[i].use, needed[i].since);
        return false;
    }
    int max = check(vm, KVM_CAP_MAX_VCPUS);
    if (max <= 0)
        max = check(vm, KVM_CAP_NR_VCPUS);
    vm->max_vcpus = max <= 0 ? 4 : max > VM_MAX_VCPUS ? VM_MAX_VCPUS : (unsigned)max;
    int slots = check(vm, KVM_CAP_NR_MEMSLOTS);
    vm->max_slots = slots > 0 ? (unsigned)slots : 32;
    int page = check(vm, KVM_CAP_COALESCED_MMIO);
    vm->coalesced_page = page > 0 ? (unsigned)page : 0;
    vm->coalesced_pio = page > 0 && check(vm, KVM_CAP_COALESCED_PIO) > 0;
    vm->tsc_deadline = check(vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    vm->mce = check(vm, KVM_CAP_MCE) > 0;
    return true;
}

struct step {
    const char *name;
    unsigned long request;
    unsigned long arg;
};

static bool take(struct vm *vm, const struct step *step, size_t count, char *err, size_t n)
{
    for (; count--; step++) {
        if (ioctl(vm->fd, step->request, step->arg) >= 0)
            continue;
        say(err, n, "%s: %s: %s", vm->path, step->name, strerror(errno));
        return false;
    }
    return true;
}

/* Where KVM keeps its pages; before any vCPU. */
static bool set_up(struct vm *vm, char *err, size_t n)
{
    uint64_t identity = VM_IDENTITY_MAP_ADDR;
    struct kvm_enable_cap log = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                 .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
    const struct step steps[] = {
        {"KVM_SET_TSS_ADDR",                                  KVM_SET_TSS_ADDR,          VM_TSS_ADDR             },
        {"KVM_SET_IDENTITY_MAP_ADDR",                         KVM_SET_IDENTITY_MAP_ADDR, (unsigned long)&identity},
        {"KVM_ENABLE_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)", KVM_ENABLE_CAP,            (unsigned long)&log     },
    };
    return take(vm, steps, sizeof steps / sizeof steps[0], err, n);
}

bool vm_chips(struct vm *vm, char *err, size_t n)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    const struct step steps[] = {
        {"KVM_CREATE_IRQCHIP",  KVM_CREATE_IRQCHIP,  0                         },
        {"KVM_CREATE_PIT2",     KVM_CREATE_PIT2,     (unsigned long)&pit       },
        {"KVM_SET_GSI_ROUTING", KVM_SET_GSI_ROUTING, (unsigned long)vm->routing},
    };
    if (vm->chips)
        return true;
    vm->chips = take(vm, steps, vm->routing ? 3 : 2, err, n);
    return vm->chips;
}

struct vm *vm_open(const char *path, char *err, size_t err_size)
{
    struct vm *vm = calloc(1, sizeof *vm);
    if (!path)
        path = "/dev/kvm";
    if (!vm) {
        say(err, err_size, "%s: %s", path, strerror(ENOMEM));
        return NULL;
    }
    vm->fd = -1;
    vm->path = path;
    vm->dev = open(path, O_RDWR | O_CLOEXEC);
    if (vm->dev < 0) {
        say_open(path, errno, err, err_size);
        goto fail;
    }
    int version = ioctl(vm->dev, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        if (version < 0)
            say(err, err_size, "%s: KVM_GET_API_VERSION: %s (this is not KVM's device)", path,
                strerror(errno));
        else
            say(err, err_size, "%s: KVM's API is version %d, not %d", path, version, KVM_API_VERSION);
        goto fail;
    }
    do {
        vm->fd = ioctl(vm->dev, KVM_CREATE_VM, 0);
    } while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        say_create(path, errno, err, err_size);
        goto fail;
    }
    int run_size = ioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run)) {
        say(err, err_size, "%s: KVM_GET_VCPU_MMAP_SIZE: %s", path,
            run_size < 0 ? strerror(errno) : "too small an area");
        goto fail;
    }
    vm->run_size = (size_t)run_size;
    if (!check_caps(vm, path, err, err_size) || !set_up(vm, err, err_size))
        goto fail;
    return vm;
fail:
    vm_close(vm);
    return NULL;
}

void vm_close(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->dev >= 0)
        close(vm->dev);
    free(vm->supported);
    free(vm);
}

unsigned vm_max_vcpus(const struct vm *vm)
{
    return vm->max_vcpus;
}

unsigned vm_max_slots(const struct vm *vm)
{
    return vm->max_slots;
}

unsigned vm_tsc_khz(const struct vm *vm)
{
    return atomic_load(&vm->tsc_khz);
}

/* 0 or -errno, for ioctls that answer 0 when all is well. */
static int call(const struct vm *vm, unsigned long request, const void *arg)
{
    return ioctl(vm->fd, request, arg) < 0 ? -errno : 0;
}

int vm_slot_set(struct vm *vm, const struct vm_slot *slot)
{
    struct kvm_userspace_memory_region r = {
        .slot = slot->slot,
        .flags = (slot->flags & VM_SLOT_READONLY ? KVM_MEM_READONLY : 0) |
                 (slot->flags & VM_SLOT_LOG ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = slot->gpa,
        .memory_size = slot->size,
        .userspace_addr = (uintptr_t)slot->host,
    };
    return call(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

uint64_t vm_slot_max_size(void)
{
    return (UINT64_C(1) << 31) * VM_PAGE - VM_PAGE; /* KVM_MEM_MAX_NR_PAGES, not exported: 2^31 - 1 */
}

int vm_dirty_get(struct vm *vm, uint32_t slot, uint64_t *bitmap)
{
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
    return call(vm, KVM_GET_DIRTY_LOG, &log);
}

int vm_dirty_clear(struct vm *vm, uint32_t slot, uint64_t first, uint32_t n, const uint64_t *bitmap)
{
    struct kvm_clear_dirty_log log = {
        .slot = slot, .first_page = first, .num_pages = n, .dirty_bitmap = (void *)(uintptr_t)bitmap};
    return call(vm, KVM_CLEAR_DIRTY_LOG, &log);
}

static int ioeventfd(struct vm *vm, const struct vm_ioeventfd *e, uint32_t flags)
{
    struct kvm_ioeventfd k = {
        .datamatch = e->match ? e->value : 0,
        .addr = e->addr,
        .len = e->size,
        .fd = e->fd,
        .flags =
            flags | (e->pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (e->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
    };
    return call(vm, KVM_IOEVENTFD, &k);
}

int vm_ioeventfd_add(struct vm *vm, const struct vm_ioeventfd *e)
{
    return ioeventfd(vm, e, 0);
}

int vm_ioeventfd_del(struct vm *vm, const struct vm_ioeventfd *e)
{
    return ioeventfd(vm, e, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int coalesce(struct vm *vm, unsigned long request, bool pio, uint64_t addr, uint32_t size)
{
    struct kvm_coalesced_mmio_zone zone = {.addr = addr, .size = size, .pio = pio};
    if (pio ? !vm->coalesced_pio : !vm->coalesced_page)
        return -EOPNOTSUPP;
    return call(vm, request, &zone);
}

int vm_coalesce_add(struct vm *vm, bool pio, uint64_t addr, uint32_t size)
{
    return coalesce(vm, KVM_REGISTER_COALESCED_MMIO, pio, addr, size);
}

int vm_coalesce_del(struct vm *vm, bool pio, uint64_t addr, uint32_t size)
{
    return coalesce(vm, KVM_UNREGISTER_COALESCED_MMIO, pio, addr, size);
}
