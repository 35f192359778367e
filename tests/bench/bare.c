// SPDX-License-Identifier: MIT
/*
 * bare: the least that boots a Linux bzImage on KVM, as the limit against which vmlet's start and boot are
 * measured. No device at all: reads give all ones, writes vanish, but port 0xf4 ends it with that status. No ACPI either,
 * so that Linux is left with the PIT's tick through the PICs: five exits each.
 * Kernel entered directly by the 64-bit boot protocol (Documentation/arch/x86/boot.rst), in-kernel irqchip
 * and PIT, RAM below 3 GiB in one anonymous mapping aligned for huge pages.
 *
 *   bare [-s] [-n] KERNEL INITRD MEGABYTES COMMAND-LINE      -n: without huge pages; -s: print the times and
 * exits
 */
#include <asm/bootparam.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HUGE       (2ul << 20)
#define GDT        0x500
#define PAGETABLES 0x9000 /* PML4, PDPT, four page directories */
#define PARAMS     0x20000
#define CMDLINE    0x21000

static uint8_t *ram;

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static size_t load(const char *file, size_t skip, uint8_t *to, size_t room)
{
    int fd = open(file, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        err(125, "%s", file);
    size_t n = (size_t)st.st_size - skip;
    if ((size_t)st.st_size < skip || n > room || pread(fd, to, n, (off_t)skip) != (ssize_t)n)
        errx(125, "%s: does not fit", file);
    close(fd);
    return n;
}

static void e820(struct boot_params *bp, uint64_t start, uint64_t end, uint32_t type)
{
    bp->e820_table[bp->e820_entries++] = (struct boot_e820_entry){start, end - start, type};
}

/* Loads the kernel and its boot_params; returns the 64-bit entry. */
static uint64_t kernel(const char *file, const char *initrd, size_t size, const char *cmdline)
{
    uint8_t head[4096] = {0};
    int fd = open(file, O_RDONLY);
    if (fd < 0 || pread(fd, head, sizeof head, 0) != sizeof head)
        err(125, "%s", file);
    close(fd);
    struct boot_params *bp = (void *)(ram + PARAMS);
    bp->hdr = *(struct setup_header *)(head + 0x1f1);
    if (bp->hdr.header != 0x53726448 || !(bp->hdr.xloadflags & XLF_KERNEL_64))
        errx(125, "%s: no bzImage with a 64-bit entry", file);
    size_t at = bp->hdr.pref_address;
    load(file, (bp->hdr.setup_sects + 1ul) * 512, ram + at, size - at);
    strcpy((char *)ram + CMDLINE, cmdline);
    bp->hdr.type_of_loader = 0xff;
    bp->hdr.loadflags |= LOADED_HIGH;
    bp->hdr.cmd_line_ptr = CMDLINE;
    size_t to = at + bp->hdr.init_size + 4096;
    bp->hdr.ramdisk_size = (uint32_t)load(initrd, 0, ram + (to & ~4095ul), size - to);
    bp->hdr.ramdisk_image = (uint32_t)(to & ~4095ul);
    e820(bp, 0, 0x9fc00, 1);
    e820(bp, 0x100000, size, 1);
    return at + 0x200;
}

static void tables(void)
{
    uint64_t *pml4 = (void *)(ram + PAGETABLES), *pdpt = pml4 + 512, *pd = pdpt + 512;
    pml4[0] = PAGETABLES + 0x1003;
    for (uint64_t i = 0; i < 4; i++)
        pdpt[i] = PAGETABLES + 0x2003 + i * 0x1000;
    for (uint64_t i = 0; i < 2048; i++)
        pd[i] = i * HUGE | 0x83;
    uint64_t gdt[4] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    memcpy(ram + GDT, gdt, sizeof gdt);
}

static void registers(int vcpu, uint64_t entry)
{
    struct kvm_sregs s;
    if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
        err(125, "KVM_GET_SREGS");
    struct kvm_segment data = {
        .limit = ~0u, .selector = 0x18, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cs = data;
    s.cs.selector = 0x10, s.cs.type = 11, s.cs.db = 0, s.cs.l = 1;
    s.gdt.base = GDT, s.gdt.limit = 31;
    s.cr3 = PAGETABLES, s.cr4 = 0x20, s.cr0 = 0x80050033, s.efer = 0x500;
    struct kvm_regs r = {.rip = entry, .rsi = PARAMS, .rflags = 2};
    if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0)
        err(125, "registers");
}

int main(int argc, char **argv)
{
    double begin = now();
    bool stats = false, huge = true;
    for (int c; (c = getopt(argc, argv, "sn")) >= 0;)
        *(c == 's' ? &stats : &huge) = c == 's';
    if (argc - optind != 4)
        errx(125, "usage: bare [-s] [-n] KERNEL INITRD MEGABYTES COMMAND-LINE");
    argv += optind;
    size_t size = strtoul(argv[2], NULL, 10) << 20;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        err(125, "/dev/kvm");
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    uint64_t identity = 0xfeffc000;
    if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000) < 0 || ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
        ioctl(vm, KVM_CREATE_IRQCHIP) < 0 || ioctl(vm, KVM_CREATE_PIT2, &pit) < 0)
        err(125, "irqchip");
    uint8_t *map =
        mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        err(125, "RAM");
    ram = (uint8_t *)(((uintptr_t)map + HUGE - 1) & ~(HUGE - 1));
    madvise(ram, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    struct kvm_userspace_memory_region slot = {.memory_size = size, .userspace_addr = (uintptr_t)ram};
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 || vcpu < 0)
        err(125, "vCPU");
    struct kvm_run *run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
                               MAP_SHARED, vcpu, 0);
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + 256 * sizeof *cpuid->entries);
    cpuid->nent = 256;
    if (run == MAP_FAILED || ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
        err(125, "CPUID");
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 1) /* a hypervisor is there: kvmclock */
            cpuid->entries[i].ecx |= 1u << 31;
    if (ioctl(vcpu, KVM_SET_CPUID2, cpuid) < 0)
        err(125, "CPUID");
    tables();
    registers(vcpu, kernel(argv[0], argv[1], size, argv[3]));

    double first = now();
    for (unsigned long exits = 0;; exits++) {
        if (ioctl(vcpu, KVM_RUN, 0) < 0)
            err(125, "KVM_RUN");
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            if (run->io.direction == KVM_EXIT_IO_IN) {
                /* ones, but for one that Linux waits for: the clock's "update in progress" */
                memset(data, run->io.port == 0x71 ? 0 : 0xff, (size_t)run->io.size * run->io.count);
            } else if (run->io.port == 0xf4) {
                if (stats)
                    printf("first_run_ms=%.2f boot_ms=%.0f user_exits=%lu\n", first - begin, now() - begin,
                           exits);
                return *data;
            }
            break;
        case KVM_EXIT_MMIO:
            memset(run->mmio.data, 0xff, sizeof run->mmio.data);
            break;
        default:
            errx(123, "exit reason %u", run->exit_reason);
        }
    }
}
