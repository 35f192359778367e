// SPDX-License-Identifier: MIT
/* What a debugger asks of a vCPU, on /dev/kvm: registers, addresses, breakpoints of all kinds, steps. */
#include "kvm_guest.h"

GUEST32(work, "mov $0x11, %eax\n"
              "inc %eax\n"
              ".globl work_here\nwork_here: nop\n"
              "mov %eax, 0x5000\n"
              ".globl work_after\nwork_after: inc %eax\n"
              "in $0x70, %al\n"
              "out %al, $0xf8\n"
              "1: cli\nhlt\njmp 1b\n");
extern uint8_t work_here[], work_after[];

#define AT_WORK(label) (GUEST_CODE + (uint64_t)(label - work_start))

static struct guest *g;
static struct vcpu *cpu;

/* Started, and stands before its first instruction. */
static void ready(void)
{
    g = guest_new(1);
    cpu = vcpus_get(g->vcpus, 0);
    GUEST_LOAD(g, work);
    vcpus_pause(g->vcpus);
    guest_start(g, VCPU_PROTECTED32);
}

static void arm(struct vcpu_debug debug)
{
    CHECK_EQ(vcpu_debug_set(cpu, &debug), 0);
}

/* Lets it go until the next thing. */
static int run(void)
{
    vcpu_debug_hold(cpu, false);
    vcpus_resume(g->vcpus);
    int r = guest_wait(g);
    if (r == GUEST_DEBUG)
        vcpus_pause(g->vcpus);
    return r;
}

static struct vcpu_regs regs(void)
{
    struct vcpu_regs r;
    CHECK_EQ(vcpu_regs_get(cpu, &r), 0);
    return r;
}

static void run_to_the_end(int status)
{
    arm((struct vcpu_debug){0});
    CHECK_EQ(run(), status);
    guest_free(g);
}

TEST(debug_registers_come_and_go)
{
    ready();
    struct vcpu_regs r = regs();
    CHECK_EQ(r.rip, GUEST_CODE);
    CHECK_EQ(r.rsp, GUEST_STACK);
    CHECK_EQ(r.cs, 0x10);
    CHECK_EQ(r.cr0 & 1, 1);
    CHECK_EQ(r.mxcsr, 0x1f80);
    CHECK_EQ(r.ftag, 0xffff);
    CHECK_EQ(r.fctrl, 0x37f);
    r.rbx = 0x123456789;
    r.cr2 = 0x4000;
    r.fs_base = 0x7000;
    r.xmm[7][15] = 0xab;
    r.mxcsr = 0x1f00;
    r.st[0][9] = 0x40;
    r.st[0][7] = 0x80;
    r.ftag = 0xfffc;
    r.cs = 0x99; /* not taken */
    CHECK_EQ(vcpu_regs_set(cpu, &r), 0);
    struct vcpu_regs back = regs();
    r.cs = 0x10;
    CHECK(!memcmp(&r, &back, sizeof r));
    r.cr4 = ~UINT64_C(0);
    CHECK(vcpu_regs_set(cpu, &r) < 0);
    run_to_the_end(0xff);
}

TEST(debug_addresses)
{
    uint64_t gpa = 0;
    ready();
    CHECK(vcpu_translate(cpu, 0x1234, &gpa));
    CHECK_EQ(gpa, 0x1234);
    /* a page directory with 4 MiB pages: 0x400000 is 0, nothing else but where the code is */
    uint32_t *directory = (uint32_t *)(g->ram + 0x9000);
    directory[0] = directory[1] = 0x83;
    struct vcpu_regs r = regs();
    r.cr3 = 0x9000;
    r.cr4 |= 1 << 4;
    r.cr0 |= 1u << 31;
    CHECK_EQ(vcpu_regs_set(cpu, &r), 0);
    if (!(regs().cr0 >> 31)) {
        guest_free(g);
        SKIP("KVM here takes CR0.PG, and forgets it");
    }
    CHECK(vcpu_translate(cpu, 0x405678, &gpa));
    CHECK_EQ(gpa, 0x5678);
    CHECK(!vcpu_translate(cpu, 0x800000, &gpa));
    run_to_the_end(0xff);
}

TEST(debug_steps)
{
    ready();
    arm((struct vcpu_debug){.step = true});
    static const uint64_t length[] = {5, 1, 1,
                                      5, 1, 2}; /* the last one is a port's, finished before the step is */
    uint64_t at = GUEST_CODE;
    for (unsigned i = 0; i < sizeof length / sizeof *length; i++) {
        CHECK_EQ(run(), GUEST_DEBUG);
        CHECK_EQ(g->event.what, VCPU_DEBUG_STEP);
        CHECK_EQ(g->event.pc, at += length[i]);
        CHECK_EQ(regs().rip, at);
    }
    CHECK_EQ(regs().rax & 0xff, 0xff);
    CHECK_STR(vcpu_state_name(cpu), "running");
    run_to_the_end(0xff);
}

TEST(debug_hardware_breakpoint)
{
    ready();
    arm((struct vcpu_debug){.hard = {[2] = {VCPU_HARD_EXECUTE, 1, AT_WORK(work_after)}}});
    CHECK_EQ(run(), GUEST_DEBUG);
    CHECK_EQ(g->event.what, VCPU_DEBUG_HARD);
    CHECK_EQ(g->event.slot, 2);
    CHECK_EQ(g->event.pc, AT_WORK(work_after));
    CHECK_EQ(regs().rax, 0x12); /* not run yet */
    run_to_the_end(0xff);
}

TEST(debug_int3)
{
    ready();
    uint8_t *byte = &g->ram[AT_WORK(work_here)], was = *byte;
    *byte = 0xcc;
    arm((struct vcpu_debug){.soft = true});
    CHECK_EQ(run(), GUEST_DEBUG);
    CHECK_EQ(g->event.what, VCPU_DEBUG_SOFT);
    CHECK_EQ(g->event.pc, AT_WORK(work_here));
    CHECK_EQ(regs().rip, AT_WORK(work_here));
    *byte = was;
    run_to_the_end(0xff);
}

/* An int3 that nobody asked for, where nobody debugs, is the guest's affair. */
TEST(debug_off_is_off)
{
    ready();
    g->ram[AT_WORK(work_here)] = 0xcc; /* there is no IDT: it dies of it */
    CHECK_EQ(run(), GUEST_STOPPED);
    guest_free(g);
}

TEST(debug_watchpoint)
{
    ready();
    arm((struct vcpu_debug){.hard = {[1] = {VCPU_HARD_WRITE, 4, 0x5000}}});
    int r = run();
    if (r != GUEST_DEBUG) {
        guest_free(g);
        SKIP("KVM here emulates instructions, and sees no data accesses then");
    }
    CHECK_EQ(g->event.what, VCPU_DEBUG_HARD);
    CHECK_EQ(g->event.slot, 1);
    CHECK_EQ(g->event.pc, AT_WORK(work_after));
    run_to_the_end(0xff);
}

TEST(debug_hold_keeps_one_cpu)
{
    ready();
    vcpu_debug_hold(cpu, true);
    vcpus_resume(g->vcpus);
    vcpus_pause(g->vcpus);
    CHECK_EQ(regs().rip, GUEST_CODE);
    run_to_the_end(0xff);
}
