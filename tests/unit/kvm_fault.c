/* SPDX-License-Identifier: MIT
 * What a user or a guest gets to see when KVM is absent, too old, or fails: /dev/kvm's calls go through a shim that can
 * fail one of them, or put an exit into kvm_run. */
#include "kvm_guest.h"
#include "kvm/priv.h"
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static struct {
    unsigned long request; /* fail this one only; 0: any */
    unsigned skip;         /* let so many pass first */
    int error;             /* 0: nothing fails */
    long cap;              /* this capability, plus 1, is not there; 0: all are */
    unsigned seen;
    void (*exit)(struct kvm_run *run); /* instead of KVM_RUN, once */
    struct kvm_run *run;
} shim;

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (request == KVM_CHECK_EXTENSION && (long)arg + 1 == shim.cap)
        return 0;
    if (shim.error && (!shim.request || shim.request == request) && shim.seen++ == shim.skip) {
        errno = shim.error;
        return -1;
    }
    if (request == KVM_RUN && shim.exit) {
        void (*inject)(struct kvm_run *) = shim.exit;
        shim.exit = NULL;
        inject(shim.run);
        return 0;
    }
    return (int)syscall(SYS_ioctl, fd, request, arg);
}

static void shim_clear(void)
{
    memset(&shim, 0, sizeof shim);
}

static char err[512];

static void need_kvm(void)
{
    shim_clear();
    if (access("/dev/kvm", R_OK | W_OK) < 0)
        SKIP("no /dev/kvm that this user may open");
}

/* --- opening */

TEST(vm_open_without_the_module)
{
    CHECK(!vm_open("/nonexistent/kvm", err, sizeof err));
    CHECK(strstr(err, "/nonexistent/kvm: open: No such file or directory ("));
    CHECK(strstr(err, "modprobe kvm_") || strstr(err, "firmware"));
    CHECK(!strchr(err, '\n'));
}

TEST(vm_open_of_something_else)
{
    CHECK(!vm_open("/dev/null", err, sizeof err));
    CHECK(strstr(err, "/dev/null: KVM_GET_API_VERSION: "));
    CHECK(strstr(err, "not KVM's device"));
}

TEST(vm_open_without_permission)
{
    char path[] = "/tmp/vmlet-test-kvm-XXXXXX", group[64] = "", line[256];
    unsigned gid = 0;
    if (geteuid() != 0)
        SKIP("needs root, to make a file of another group");
    FILE *f = fopen("/etc/group", "re");
    while (f && fgets(line, sizeof line, f) &&
           !(sscanf(line, "%63[^:]:%*[^:]:%u", group, &gid) == 2 && gid != 0))
        ;
    if (f)
        fclose(f);
    if (gid == 0)
        SKIP("there is no group but root's");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    bool made = !chown(path, 0, gid) && !chmod(path, 0660) && !seteuid(65534);
    struct vm *vm = made ? vm_open(path, err, sizeof err) : NULL;
    char with_group[512];
    strcpy(with_group, err);
    made = made && !seteuid(0) && !chmod(path, 0600) && !seteuid(65534);
    vm = made && !vm ? vm_open(path, err, sizeof err) : vm;
    made = !seteuid(0) && made;
    unlink(path);
    CHECK(made && !vm);
    char want[128];
    snprintf(want, sizeof want, "`usermod -aG %s YOUR-NAME`", group);
    CHECK(strstr(with_group, "Permission denied"));
    CHECK(strstr(with_group, want));
    CHECK(strstr(err, "chgrp kvm"));
    CHECK(!strchr(err, '\n') && !strchr(with_group, '\n'));
}

TEST(vm_open_names_the_capability_that_is_missing)
{
    need_kvm();
    static const struct {
        long cap;
        const char *name, *use;
    } cases[] = {
        {KVM_CAP_IRQCHIP,                   "KVM_CAP_IRQCHIP",                   "interrupt controllers"},
        {KVM_CAP_IMMEDIATE_EXIT,            "KVM_CAP_IMMEDIATE_EXIT",            "Linux 4.12"           },
        {KVM_CAP_IOEVENTFD,                 "KVM_CAP_IOEVENTFD",                 "doorbells"            },
        {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "log of written"       },
        {KVM_CAP_READONLY_MEM,              "KVM_CAP_READONLY_MEM",              "read-only memory"     },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shim.cap = cases[i].cap + 1;
        CHECK(!vm_open(NULL, err, sizeof err));
        CHECK(strstr(err, cases[i].name));
        CHECK(strstr(err, cases[i].use));
    }
    shim_clear();
}

TEST(vm_does_without_what_is_only_nice)
{
    need_kvm();
    static const long caps[] = {KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO, KVM_CAP_TSC_DEADLINE_TIMER,
                                KVM_CAP_MCE};
    for (unsigned i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        shim.cap = caps[i] + 1;
        struct vm *vm = vm_open(NULL, err, sizeof err);
        CHECK(vm);
        struct vcpus *vcpus = vcpus_new(vm, 1, &guest_ops, NULL, err, sizeof err);
        CHECK(vcpus);
        if (i == 0)
            CHECK_EQ(vm_coalesce_add(vm, false, 0xd0000000, 4), -EOPNOTSUPP);
        if (i <= 1)
            CHECK_EQ(vm_coalesce_add(vm, true, 0x90, 1), -EOPNOTSUPP);
        vcpus_drain(vcpus);
        vcpus_free(vcpus);
        vm_close(vm);
    }
    shim_clear();
}

TEST(vm_open_when_another_hypervisor_is_there)
{
    need_kvm();
    shim.request = KVM_CREATE_VM;
    shim.error = EBUSY;
    CHECK(!vm_open(NULL, err, sizeof err));
    CHECK(strstr(err, "KVM_CREATE_VM"));
    CHECK(strstr(err, "VirtualBox"));
    shim.seen = 0;
    shim.error = EINTR; /* once: tried again */
    struct vm *vm = vm_open(NULL, err, sizeof err);
    CHECK(vm);
    vm_close(vm);
    shim_clear();
}

TEST(vcpus_more_than_kvm_allows)
{
    need_kvm();
    struct vm *vm = vm_open(NULL, err, sizeof err);
    CHECK(vm);
    CHECK(vm_max_vcpus(vm) >= 1 && vm_max_vcpus(vm) <= VM_MAX_VCPUS);
    CHECK(!vcpus_new(vm, vm_max_vcpus(vm) + 1, &guest_ops, NULL, err, sizeof err));
    char want[64];
    snprintf(want, sizeof want, "at most %u", vm_max_vcpus(vm));
    CHECK(strstr(err, want));
    CHECK(!vcpus_new(vm, 0, &guest_ops, NULL, err, sizeof err));
    CHECK(vm_max_slots(vm) >= 32);
    vm_close(vm);
}

/* bad-inputs X7: each call fails once, in turn, with each of these; all that happens is a sentence. */
TEST(X7_each_call_at_set_up_fails_once)
{
    need_kvm();
    static const int errors[] = {ENOMEM, EMFILE, EINVAL};
    for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        unsigned refused = 0;
        for (unsigned skip = 0;; skip++) {
            shim_clear();
            shim.error = errors[e];
            shim.skip = skip;
            *err = 0;
            struct vm *vm = vm_open(NULL, err, sizeof err);
            struct vcpus *vcpus = vm ? vcpus_new(vm, 2, &guest_ops, NULL, err, sizeof err) : NULL;
            CHECK(vcpus || *err);
            refused += !vcpus;
            bool all = shim.seen <= skip;
            vcpus_free(vcpus);
            vm_close(vm);
            if (all)
                break;
            CHECK(skip < 200);
        }
        CHECK(refused >= 10);
    }
    shim_clear();
}

/* --- exits */

static struct guest *run_with(void (*inject)(struct kvm_run *run))
{
    need_kvm();
    struct guest *g = guest_new(1);
    memcpy(g->ram + GUEST_CODE, "\x0f\x0b", 2);
    shim.run = vcpus_get(g->vcpus, 0)->run;
    shim.exit = inject;
    guest_start(g, VCPU_PROTECTED32);
    return g;
}

#define CHECK_STOP(inject, reason_, text)                                                                    \
    do {                                                                                                     \
        struct guest *g = run_with(inject);                                                                  \
        CHECK_EQ(guest_wait(g), GUEST_STOPPED);                                                              \
        CHECK_EQ(g->stop.reason, reason_);                                                                   \
        CHECK(strstr(g->stop.why, text));                                                                    \
        CHECK(strstr(g->stop.why, "at RIP 0x1000 (code 0f 0b "));                                            \
        CHECK(strstr(g->stop.dump, "CS"));                                                                   \
        guest_free(g);                                                                                       \
    } while (0)

static void fail_entry_intel(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    run->fail_entry.hardware_entry_failure_reason = 0x80000021;
}
static void fail_entry_amd(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    run->fail_entry.hardware_entry_failure_reason = UINT64_MAX;
}
TEST(X6_fail_entry)
{
    CHECK_STOP(fail_entry_intel, VCPU_STOP_KVM_ERROR,
               "refused to enter the guest, reason 0x80000021 (invalid guest state)");
    CHECK_STOP(fail_entry_amd, VCPU_STOP_KVM_ERROR, "(invalid guest state)");
}

static void emulation(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run->emulation_failure.ndata = 3;
    run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run->emulation_failure.insn_size = 255; /* more than there can be */
    memcpy(run->emulation_failure.insn_bytes, "\x0f\xae\x00\x01", 4);
}
static void delivery(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
}
static void unexpected(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
    run->internal.ndata = 1;
    run->internal.data[0] = 0x77;
}
static void suberror_new(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->internal.suberror = 4711;
}
TEST(X6_internal_errors_in_words)
{
    CHECK_STOP(emulation, VCPU_STOP_KVM_ERROR, "cannot emulate an instruction, bytes 0f ae 00 01");
    CHECK_STOP(delivery, VCPU_STOP_KVM_ERROR, "could not deliver");
    CHECK_STOP(unexpected, VCPU_STOP_KVM_ERROR, "exit reason 0x77");
    CHECK_STOP(suberror_new, VCPU_STOP_KVM_ERROR, "internal error 4711");
}

static void unknown(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_UNKNOWN;
    run->hw.hardware_exit_reason = 0x402;
}
static void not_asked_for(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_X86_RDMSR;
}
static void from_the_future(struct kvm_run *run)
{
    run->exit_reason = 12345;
}
static void hlt(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_HLT;
}
static void event_reset(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
    run->system_event.type = KVM_SYSTEM_EVENT_RESET;
}
static void event_crash(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
    run->system_event.type = KVM_SYSTEM_EVENT_CRASH;
}
static void event_new(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
    run->system_event.type = 99;
}
TEST(X6_unknown_and_unwanted_exits)
{
    CHECK_STOP(unknown, VCPU_STOP_KVM_ERROR, "exit reason 0x402");
    CHECK_STOP(not_asked_for, VCPU_STOP_KVM_ERROR, "(rdmsr), which vmlet did not ask for");
    CHECK_STOP(from_the_future, VCPU_STOP_KVM_ERROR, "KVM exit 12345 (no name known)");
    CHECK_STOP(hlt, VCPU_STOP_HALTED, "halted");
    CHECK_STOP(event_reset, VCPU_STOP_RESET, "reset");
    CHECK_STOP(event_crash, VCPU_STOP_CRASH, "crash");
    CHECK_STOP(event_new, VCPU_STOP_KVM_ERROR, "99");
    struct vcpu_stats s;
    struct guest *g = run_with(from_the_future);
    CHECK_EQ(guest_wait(g), GUEST_STOPPED);
    vcpu_stats(vcpus_get(g->vcpus, 0), &s);
    CHECK_EQ(s.exits[0], 1); /* counted as unknown */
    guest_free(g);
}

GUEST32(answer, "mov $42, %al\n" EXIT_AL);
static void irq_window(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
}
TEST(vcpu_goes_on_after_harmless_exits)
{
    need_kvm();
    struct guest *g = guest_new(1);
    GUEST_LOAD(g, answer);
    shim.run = vcpus_get(g->vcpus, 0)->run;
    shim.exit = irq_window;
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 42);
    guest_free(g);
}

TEST(X7_kvm_run_fails)
{
    static const struct {
        int error;
        const char *text; /* NULL: the guest goes on */
    } cases[] = {
        {EFAULT, "a page of guest RAM cannot be had"},
        {ENOMEM, "out of memory"                    },
        {EIO,    "Input/output error"               },
        {EINTR,  NULL                               },
        {EAGAIN, NULL                               },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        need_kvm();
        struct guest *g = guest_new(1);
        GUEST_LOAD(g, answer);
        shim.request = KVM_RUN;
        shim.error = cases[i].error;
        guest_start(g, VCPU_PROTECTED32);
        CHECK_EQ(guest_wait(g), cases[i].text ? GUEST_STOPPED : 42);
        if (cases[i].text)
            CHECK(strstr(g->stop.why, cases[i].text));
        guest_free(g);
    }
    shim_clear();
}

/* A stopped vCPU is still paused, called, held and ended like any other. */
TEST(vcpu_that_stopped_still_attends)
{
    struct guest *g = run_with(from_the_future);
    char text[4096] = "";
    CHECK_EQ(guest_wait(g), GUEST_STOPPED);
    vcpus_pause(g->vcpus);
    vcpus_resume(g->vcpus);
    vcpus_hold(g->vcpus);
    vcpus_release(g->vcpus);
    FILE *f = fmemopen(text, sizeof text, "w");
    vcpu_dump(vcpus_get(g->vcpus, 0), f);
    fclose(f);
    CHECK(strstr(text, "RIP  0000000000001000"));
    vcpu_kick(vcpus_get(g->vcpus, 0));
    guest_free(g);
}
