/* SPDX-License-Identifier: MIT
 *
 * The loader and the vCPU layer together on /dev/kvm: a program of every protocol finds itself in the state that the
 * protocol promises, reloads its segments from the GDT that it was given, and says 42 at the exit port, or the number of
 * what was wrong. Bare-metal code: a KVM that emulates all of ring 0 will do.
 */
#include "kernels.h"
#include "kvm_guest.h"

#define RELOAD32                                                                                             \
    "mov $0x18, %ax\n mov %ax, %ds\n mov %ax, %es\n mov %ax, %fs\n mov %ax, %gs\n mov %ax, %ss\n"            \
    "mov $0x1200000, %esp\n push $0x10\n call 2f\n 2: addl $3f-2b, (%esp)\n lret\n 3:\n"
#define FINISH         "mov $42, %dl\n 9: mov %dl, %al\n out %al, $0xf8\n 1: cli\n hlt\n jmp 1b\n"
#define STEP(n, check) "mov $" #n ", %dl\n" check "\n jne 9f\n"

/* EAX, paging and interrupts off; then with segments from the GDT: the command line "img hxy", two modules, the memory. */
/* clang-format off */
GUEST_ASM(32, multiboot_program,
    STEP(1, "cmp $0x2badb002, %eax")
    STEP(2, "mov %cr0, %ecx\n and $0x80000001, %ecx\n cmp $1, %ecx")
    RELOAD32
    STEP(3, "pushf\n pop %ecx\n test $0x200, %ecx")
    STEP(4, "mov 16(%ebx), %ecx\n cmpl $0x20676d69, (%ecx)")
    STEP(5, "cmpl $0x797868, 4(%ecx)")
    STEP(6, "cmpl $2, 20(%ebx)")
    STEP(7, "mov 24(%ebx), %ecx\n mov 16(%ecx), %ecx\n cmpb $'m', (%ecx)")
    STEP(8, "cmpl $0x7c00, 8(%ebx)")
    FINISH);

GUEST_ASM(32, pvh_program,
    STEP(1, "cmpl $0x336ec578, (%ebx)")
    STEP(2, "mov %cr0, %ecx\n and $0x80000001, %ecx\n cmp $1, %ecx")
    STEP(3, "mov %cr4, %ecx\n test %ecx, %ecx")
    RELOAD32
    STEP(4, "mov 24(%ebx), %ecx\n cmpl $0x797868, (%ecx)")
    STEP(5, "mov 16(%ebx), %ecx\n mov (%ecx), %ecx\n cmpl $'o', (%ecx)")
    STEP(6, "cmpb $'m', 4(%ecx)")
    FINISH);

GUEST_ASM(32, bzimage32_program,
    STEP(1, "cmpl $0x53726448, 0x202(%esi)")
    STEP(2, "mov %edi, %ecx\n or %ebx, %ecx\n or %ebp, %ecx")
    RELOAD32
    STEP(3, "mov 0x228(%esi), %ecx\n cmpl $0x797868, (%ecx)")
    FINISH);

/* EFER; segments; command line, initrd, random seed through the page tables. */
GUEST_ASM(64, linux64_program,
    STEP(1, "cmpl $0x53726448, 0x202(%rsi)")
    STEP(2, "mov $0xc0000080, %ecx\n mov %edx, %edi\n rdmsr\n mov %edi, %edx\n and $0x500, %eax\n cmp $0x500, %eax")
    "mov $0x1200000, %esp\n mov $0x18, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
    "push $0x10\n lea 3f(%rip), %rax\n push %rax\n lretq\n 3:\n"
    STEP(3, "mov 0x228(%rsi), %ecx\n cmpl $0x797868, (%rcx)")
    STEP(4, "mov 0x218(%rsi), %ecx\n cmpl $'o', (%rcx)")
    STEP(5, "mov 0x250(%rsi), %rcx\n cmpl $9, 8(%rcx)")
    FINISH);
/* clang-format on */

static const struct boot_source modules[] = {
    {"a", "o", 1},
    {"b", "m", 1}
};

static int run(const void *image, uint64_t size)
{
    struct ram *ram = test_ram(32 * MIB);
    CHECK(k_open(image, size));
    bool ok = k_load(&(struct boot_config){.ram = ram,
                                           .cmdline = "hxy",
                                           .initrds = modules,
                                           .n_initrds = 2,
                                           .rng_seed = "seed",
                                           .rng_seed_size = 4});
    if (!ok)
        printf("%s\n", k_err);
    CHECK(ok);

    struct guest *g = guest_new(1);
    struct vm_slot none = {.slot = 0}, slot = {.slot = 0, .size = ram->size, .host = ram->host};
    CHECK_EQ(vm_slot_set(g->vm, &none), 0);
    CHECK_EQ(vm_slot_set(g->vm, &slot), 0);
    struct vcpu_boot boot = {.mode = k_state.mode == BOOT_LONG64 ? VCPU_LONG64 : VCPU_PROTECTED32,
                             .rip = k_state.rip,
                             .rsp = k_state.rsp,
                             .rflags = k_state.rflags,
                             .rax = k_state.rax,
                             .rbx = k_state.rbx,
                             .rsi = k_state.rsi,
                             .rdi = k_state.rdi,
                             .cr0 = k_state.cr0,
                             .cr3 = k_state.cr3,
                             .cr4 = k_state.cr4,
                             .efer = k_state.efer,
                             .gdt_base = k_state.gdt_base,
                             .gdt_limit = k_state.gdt_limit,
                             .cs = BOOT_CS,
                             .ds = BOOT_DS};
    CHECK_EQ(vcpu_set_boot(vcpus_get(g->vcpus, 0), &boot), 0);
    CHECK(vcpus_start(g->vcpus, k_err, sizeof(k_err)));
    int status = guest_wait(g);
    vcpus_join(g->vcpus);
    guest_free(g);
    return status;
}

#define PROGRAM(image, at, name) memcpy((image) + (at), name##_start, (size_t)(name##_end - name##_start))

TEST(kvm_multiboot_elf)
{
    uint8_t *b = elf_good(false, false);
    mb_header(b + ELF_MB_AT, 0);
    PROGRAM(b, ELF_TEXT_AT + (ELF_ENTRY - ELF_TEXT_PADDR), multiboot_program);
    CHECK_EQ(run(b, ELF_SIZE), 42);
}

TEST(kvm_multiboot_flat)
{
    uint8_t *b = mb_flat();
    PROGRAM(b, 0x80, multiboot_program);
    CHECK_EQ(run(b, MB_FLAT), 42);
}

TEST(kvm_pvh)
{
    uint8_t *b = elf_good(true, true);
    PROGRAM(b, ELF_TEXT_AT + (ELF_PVH_ENTRY - ELF_TEXT_PADDR), pvh_program);
    CHECK_EQ(run(b, ELF_SIZE), 42);
}

TEST(kvm_elf64)
{
    uint8_t *b = elf_good(true, false);
    PROGRAM(b, ELF_TEXT_AT + (ELF_ENTRY - ELF_TEXT_PADDR), linux64_program);
    CHECK_EQ(run(b, ELF_SIZE), 42);
}

TEST(kvm_bzimage64)
{
    uint8_t *b = bz_good();
    PROGRAM(b, BZ_SETUP + 0x200, linux64_program);
    CHECK_EQ(run(b, BZ_SIZE), 42);
}

TEST(kvm_bzimage32)
{
    uint8_t *b = bz_good();
    put16(b + 0x236, 0);
    PROGRAM(b, BZ_SETUP, bzimage32_program);
    CHECK_EQ(run(b, BZ_SIZE), 42);
}
