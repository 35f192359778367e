/* SPDX-License-Identifier: MIT
 *
 * The guest's CPUID: what KVM supports, made into CPU `index` of one package with `count` single-threaded cores. KVM's
 * table is taken over and only that is changed which is different in each CPU, which says how many there are, which KVM
 * leaves to user space (TSC deadline, frequencies), or which stands for something that is not given to the guest (SGX
 * memory, AMX state, encryption keys).
 *
 * One table of fixes: each entry rewrites the entries of one leaf. A leaf that KVM does not have is not invented, except
 * the hypervisor's frequency leaf, which saves guests a calibration against the PIT.
 *
 * Sources: Intel SDM 2A, CPUID; AMD APM 3, appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "kvm/priv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum leaf {
    LEAF_VENDOR = 0x0,
    LEAF_FEATURES = 0x1,
    LEAF_CACHES = 0x4,
    LEAF_THERMAL = 0x6,
    LEAF_FEATURES7 = 0x7,
    LEAF_TOPOLOGY = 0xb,
    LEAF_XSAVE = 0xd,
    LEAF_SGX = 0x12,
    LEAF_TSC = 0x15,
    LEAF_FREQUENCY = 0x16,
    LEAF_TILE = 0x1d,
    LEAF_TMUL = 0x1e,
    LEAF_TOPOLOGY2 = 0x1f,
    LEAF_KVM = 0x40000000,
    LEAF_KVM_FREQUENCY = 0x40000010,
    LEAF_EXT_FEATURES = 0x80000001,
    LEAF_EXT_SIZES = 0x80000008,
    LEAF_EXT_CACHES = 0x8000001d,
    LEAF_EXT_TOPOLOGY = 0x8000001e,
    LEAF_EXT_ENCRYPTION = 0x8000001f,
};

enum {
    APIC_TIMER_KHZ = 1000000,
};

struct fill {
    struct kvm_cpuid2 *c;
    struct cpuid_config config;
    unsigned id_bits; /* of an APIC ID: the smallest power of two that holds count */
    bool amd;
};

static void set_bit(uint32_t *word, unsigned bit, bool on)
{
    *word = (*word & ~(UINT32_C(1) << bit)) | (uint32_t)on << bit;
}

/* Bits high:low of a register. */
static void set_field(uint32_t *word, unsigned high, unsigned low, uint32_t value)
{
    uint32_t mask = (uint32_t)((UINT64_C(1) << (high - low + 1)) - 1);
    *word = (*word & ~(mask << low)) | (value > mask ? mask : value) << low;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t function)
{
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == function)
            return &c->entries[i];
    return NULL;
}

static void fix_features(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    set_field(&e->ebx, 31, 24, f->config.index);
    set_field(&e->ebx, 23, 16, 1u << f->id_bits);
    set_bit(&e->edx, 28, f->config.count > 1); /* HTT: the field above counts */
    set_bit(&e->ecx, 3, false);                /* MONITOR: an exit each, or #UD */
    set_bit(&e->ecx, 21, true);                /* x2APIC: KVM's local APIC has it */
    set_bit(&e->ecx, 24, f->config.tsc_deadline);
    set_bit(&e->ecx, 27, false); /* OSXSAVE: follows CR4, KVM keeps it */
    set_bit(&e->ecx, 31, true);  /* hypervisor */
}

/* Intel: who shares the cache (a power of two less one), how many cores the package has. */
static void fix_caches(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    unsigned level = e->eax >> 5 & 7;
    if (!(e->eax & 0x1f))
        return;
    set_field(&e->eax, 25, 14, level >= 3 ? (1u << f->id_bits) - 1 : 0);
    set_field(&e->eax, 31, 26, (1u << f->id_bits) - 1);
}

static void fix_thermal(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    (void)f;
    *e = (struct kvm_cpuid_entry2){.function = LEAF_THERMAL,
                                   .eax = 1u << 2}; /* ARAT alone: the timer never stops */
}

static void fix_features7(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    struct kvm_cpuid_entry2 *xsave = find(f->c, LEAF_XSAVE);
    if (e->index != 0)
        return;
    set_bit(&e->ebx, 2, false);  /* SGX: no enclave memory */
    set_bit(&e->ecx, 30, false); /* SGX launch control */
    if (!xsave || (xsave->eax >> 17 & 3) != 3) {
        /* AMX without its state components, which take a permission of the process: BF16, TILE, INT8. */
        set_bit(&e->edx, 22, false);
        set_bit(&e->edx, 24, false);
        set_bit(&e->edx, 25, false);
    }
}

static void fix_clear(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    (void)f;
    e->eax = e->ebx = e->ecx = e->edx = 0;
}

static void fix_tile(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    struct kvm_cpuid_entry2 *xsave = find(f->c, LEAF_XSAVE);
    if (!xsave || (xsave->eax >> 17 & 3) != 3)
        fix_clear(f, e);
}

/* Level 0 threads (one a core), level 1 cores, then the end. Sub-leaves are laid out by topology_entries(). */
static void fix_topology(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    e->eax = e->ebx = 0;
    e->ecx = e->index & 0xff;
    e->edx = f->config.index;
    if (e->index == 0) {
        e->ebx = 1;
        e->ecx |= 1u << 8;
    } else if (e->index == 1) {
        e->eax = f->id_bits;
        e->ebx = f->config.count;
        e->ecx |= 2u << 8;
    }
}

/* TSC = crystal * EBX / EAX. The crystal also drives the APIC timer, which runs at 1 GHz in KVM. */
static void fix_tsc(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    if (!f->config.tsc_khz || !e->eax)
        return;
    e->eax = APIC_TIMER_KHZ;
    e->ebx = f->config.tsc_khz;
    e->ecx = APIC_TIMER_KHZ * 1000;
}

static void fix_frequency(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    if (f->config.tsc_khz && e->eax)
        set_field(&e->eax, 15, 0, f->config.tsc_khz / 1000);
}

static void fix_ext_features(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    if (f->amd)
        set_bit(&e->ecx, 1, f->config.count > 1); /* CmpLegacy: HTT means cores, not threads */
}

static void fix_ext_sizes(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    if (!f->amd)
        return;
    set_field(&e->ecx, 7, 0, f->config.count - 1);
    set_field(&e->ecx, 15, 12, f->id_bits);
}

static void fix_ext_caches(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    unsigned level = e->eax >> 5 & 7;
    if (e->eax & 0x1f)
        set_field(&e->eax, 25, 14, level >= 3 ? f->config.count - 1 : 0);
}

static void fix_ext_topology(struct fill *f, struct kvm_cpuid_entry2 *e)
{
    if (!f->amd)
        return;
    e->eax = f->config.index;
    e->ebx = f->config.index & 0xff; /* one thread a core */
    e->ecx = 0;                      /* node 0 of one */
    e->edx = 0;
}

static const struct {
    uint32_t function;
    void (*fix)(struct fill *f, struct kvm_cpuid_entry2 *e);
} fixes[] = {
    {LEAF_FEATURES,       fix_features    },
    {LEAF_CACHES,         fix_caches      },
    {LEAF_THERMAL,        fix_thermal     },
    {LEAF_FEATURES7,      fix_features7   },
    {LEAF_TOPOLOGY,       fix_topology    },
    {LEAF_TOPOLOGY2,      fix_topology    },
    {LEAF_SGX,            fix_clear       },
    {LEAF_TSC,            fix_tsc         },
    {LEAF_FREQUENCY,      fix_frequency   },
    {LEAF_TILE,           fix_tile        },
    {LEAF_TMUL,           fix_tile        },
    {LEAF_EXT_FEATURES,   fix_ext_features},
    {LEAF_EXT_SIZES,      fix_ext_sizes   },
    {LEAF_EXT_CACHES,     fix_ext_caches  },
    {LEAF_EXT_TOPOLOGY,   fix_ext_topology},
    {LEAF_EXT_ENCRYPTION, fix_clear       },
};

/* The leaf with exactly the sub-leaves 0 to 2, however many KVM listed: KVM answers one that is not listed with zeroes,
 * but software takes the first sub-leaf of type 0 for the end, and its ECX and EDX have values still. */
static void topology_entries(struct kvm_cpuid2 *c, uint32_t function)
{
    uint32_t kept = 0;
    if (!find(c, function))
        return;
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function != function)
            c->entries[kept++] = c->entries[i];
    c->nent = kept;
    for (uint32_t index = 0; index < 3; index++)
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){
            .function = function, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
}

/* Leaf 0x40000010: TSC and APIC timer frequencies in kHz; the APIC timer of KVM runs at 1 GHz. */
static void add_kvm_frequency(struct fill *f)
{
    struct kvm_cpuid_entry2 *base = find(f->c, LEAF_KVM);
    if (!base || !f->config.tsc_khz || find(f->c, LEAF_KVM_FREQUENCY))
        return;
    if (base->eax < LEAF_KVM_FREQUENCY)
        base->eax = LEAF_KVM_FREQUENCY;
    f->c->entries[f->c->nent++] = (struct kvm_cpuid_entry2){
        .function = LEAF_KVM_FREQUENCY, .eax = f->config.tsc_khz, .ebx = APIC_TIMER_KHZ};
}

void cpuid_fill(struct kvm_cpuid2 *c, const struct cpuid_config *config)
{
    struct fill f = {.c = c, .config = *config};
    struct kvm_cpuid_entry2 *vendor = find(c, LEAF_VENDOR);

    /* "AuthenticAMD" or "HygonGenuine" */
    f.amd = vendor && (vendor->ebx == 0x68747541 || vendor->ebx == 0x6f677948);
    while (1u << f.id_bits < config->count)
        f.id_bits++;
    topology_entries(c, LEAF_TOPOLOGY);
    topology_entries(c, LEAF_TOPOLOGY2);
    add_kvm_frequency(&f);
    for (uint32_t i = 0; i < c->nent; i++)
        for (size_t j = 0; j < sizeof fixes / sizeof fixes[0]; j++)
            if (fixes[j].function == c->entries[i].function)
                fixes[j].fix(&f, &c->entries[i]);
}

static struct kvm_cpuid2 *ask(int dev)
{
    for (uint32_t n = 128; n <= 4096; n *= 2) {
        struct kvm_cpuid2 *c = calloc(1, sizeof *c + n * sizeof c->entries[0]);
        if (!c)
            return NULL;
        c->nent = n;
        if (ioctl(dev, KVM_GET_SUPPORTED_CPUID, c) == 0)
            return c;
        int error = errno;
        free(c);
        errno = error;
        if (error != E2BIG)
            return NULL;
    }
    return NULL;
}

const struct kvm_cpuid2 *cpuid_supported(struct vm *vm)
{
    if (!vm->supported)
        vm->supported = ask(vm->dev);
    return vm->supported;
}

unsigned vm_phys_bits(struct vm *vm)
{
    const struct kvm_cpuid2 *c = cpuid_supported(vm);
    for (uint32_t i = 0; c && i < c->nent; i++)
        if (c->entries[i].function == LEAF_EXT_SIZES)
            return c->entries[i].eax & 0xff;
    return 36; /* what every CPU with long mode has, where KVM does not say */
}
