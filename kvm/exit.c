/* SPDX-License-Identifier: MIT
 *
 * The exits that are not accesses: what they mean in words, and the report about a vCPU that cannot go on. A table of
 * all of KVM's reasons gives each a name and says whether the guest goes on after it.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 5 "The kvm_run structure".
 */
#include "kvm/priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    bool harmless; /* nothing to do: enter again */
} reasons[] = {
    [KVM_EXIT_UNKNOWN] = {"unknown",         false},
    [KVM_EXIT_EXCEPTION] = {"exception",       false},
    [KVM_EXIT_IO] = {"io",              false},
    [KVM_EXIT_HYPERCALL] = {"hypercall",       false},
    [KVM_EXIT_DEBUG] = {"debug",           false},
    [KVM_EXIT_HLT] = {"hlt",             false},
    [KVM_EXIT_MMIO] = {"mmio",            false},
    [KVM_EXIT_IRQ_WINDOW_OPEN] = {"irq-window",      true },
    [KVM_EXIT_SHUTDOWN] = {"shutdown",        false},
    [KVM_EXIT_FAIL_ENTRY] = {"fail-entry",      false},
    [KVM_EXIT_INTR] = {"intr",            true },
    [KVM_EXIT_SET_TPR] = {"set-tpr",         true },
    [KVM_EXIT_TPR_ACCESS] = {"tpr-access",      true },
    [KVM_EXIT_NMI] = {"nmi",             true },
    [KVM_EXIT_INTERNAL_ERROR] = {"internal-error",  false},
    [KVM_EXIT_SYSTEM_EVENT] = {"system-event",    false},
    [KVM_EXIT_IOAPIC_EOI] = {"ioapic-eoi",      true },
    [KVM_EXIT_HYPERV] = {"hyperv",          false},
    [KVM_EXIT_X86_RDMSR] = {"rdmsr",           false},
    [KVM_EXIT_X86_WRMSR] = {"wrmsr",           false},
    [KVM_EXIT_DIRTY_RING_FULL] = {"dirty-ring-full", false},
    [KVM_EXIT_AP_RESET_HOLD] = {"ap-reset-hold",   false},
    [KVM_EXIT_X86_BUS_LOCK] = {"bus-lock",        true },
    [KVM_EXIT_XEN] = {"xen",             false},
};
enum {
    REASONS = sizeof reasons / sizeof reasons[0],
};

const char *vcpu_exit_name(unsigned reason)
{
    return reason < REASONS ? reasons[reason].name : NULL;
}

static void hex(char *text, size_t size, const uint8_t *bytes, unsigned n)
{
    size_t at = 0;
    *text = 0;
    for (unsigned i = 0; i < n && at + 4 < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? " %02x" : "%02x", bytes[i]);
}

static void internal_error(const struct kvm_run *run, char *text, size_t size)
{
    char bytes[64];
    switch (run->internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        if (run->emulation_failure.ndata >= 1 &&
            run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES &&
            run->emulation_failure.insn_size > 0) {
            unsigned n = run->emulation_failure.insn_size;
            hex(bytes, sizeof bytes, run->emulation_failure.insn_bytes,
                n > sizeof run->emulation_failure.insn_bytes ? sizeof run->emulation_failure.insn_bytes : n);
            snprintf(text, size, "KVM cannot emulate an instruction, bytes %s,", bytes);
        } else {
            snprintf(text, size, "KVM cannot emulate an instruction");
        }
        break;
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        snprintf(text, size, "KVM met an exception while it handled another");
        break;
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        snprintf(text, size,
                 "KVM could not deliver an interrupt or exception (is the IDT or stack in no memory?)");
        break;
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        snprintf(text, size, "KVM does not know the processor's exit reason 0x%llx",
                 run->internal.ndata ? (unsigned long long)run->internal.data[0] : 0);
        break;
    default:
        snprintf(text, size, "KVM internal error %u", run->internal.suberror);
    }
}

/* Bit 31 is VMX's "the entry failed", and 33 its "invalid guest state"; all ones is SVM's VMEXIT_INVALID. */
static void fail_entry(const struct kvm_run *run, char *text, size_t size)
{
    uint64_t why = run->fail_entry.hardware_entry_failure_reason;
    bool invalid = why == UINT64_C(0x80000021) || (int32_t)why == -1;
    snprintf(text, size, "the processor refused to enter the guest, reason 0x%llx%s", (unsigned long long)why,
             invalid ? " (invalid guest state)" : "");
}

static enum vcpu_stop_reason system_event(const struct kvm_run *run, char *text, size_t size)
{
    static const struct {
        const char *name;
        enum vcpu_stop_reason reason;
    } events[] = {
        [KVM_SYSTEM_EVENT_SHUTDOWN] = {"shutdown", VCPU_STOP_SHUTDOWN},
        [KVM_SYSTEM_EVENT_RESET] = {"reset",    VCPU_STOP_RESET   },
        [KVM_SYSTEM_EVENT_CRASH] = {"crash",    VCPU_STOP_CRASH   },
    };
    uint32_t type = run->system_event.type;
    if (type < sizeof events / sizeof events[0] && events[type].name) {
        snprintf(text, size, "system event: %s", events[type].name);
        return events[type].reason;
    }
    snprintf(text, size, "system event %u, which vmlet does not know", type);
    return VCPU_STOP_KVM_ERROR;
}

static void stop(struct vcpu *vcpu, enum vcpu_stop_reason reason, const char *what)
{
    struct vcpu_stop s = {.reason = reason};
    struct report report = {0};

    dump_registers(vcpu, s.dump, sizeof s.dump, &report);
    if (reason == VCPU_STOP_TRIPLE_FAULT && report.reset)
        snprintf(s.why, sizeof s.why,
                 "vCPU %u: %s (where is not known: this processor keeps no registers over it)", vcpu->index,
                 what);
    else if (report.rip_known)
        snprintf(s.why, sizeof s.why, "vCPU %u: %s at RIP 0x%llx (code %s)", vcpu->index, what,
                 (unsigned long long)report.rip, report.code);
    else
        snprintf(s.why, sizeof s.why, "vCPU %u: %s", vcpu->index, what);
    vcpu->all->ops->stopped(vcpu->all->ctx, vcpu, &s);
}

bool exit_other(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    uint32_t code = run->exit_reason;
    enum vcpu_stop_reason reason = VCPU_STOP_KVM_ERROR;
    char what[160];

    if (code < REASONS && reasons[code].harmless)
        return true;
    if (debug_exit(vcpu))
        return true;
    switch (code) {
    case KVM_EXIT_SHUTDOWN:
        reason = VCPU_STOP_TRIPLE_FAULT;
        snprintf(what, sizeof what, "triple fault");
        break;
    case KVM_EXIT_HLT:
        reason = VCPU_STOP_HALTED;
        snprintf(what, sizeof what, "halted");
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        reason = system_event(run, what, sizeof what);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        internal_error(run, what, sizeof what);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        fail_entry(run, what, sizeof what);
        break;
    case KVM_EXIT_UNKNOWN:
        snprintf(what, sizeof what, "KVM does not know the processor's exit reason 0x%llx",
                 (unsigned long long)run->hw.hardware_exit_reason);
        break;
    case KVM_EXIT_EXCEPTION:
        snprintf(what, sizeof what, "KVM could not handle exception %u", run->ex.exception);
        break;
    default:
        /* Each of these has to be switched on, and is not. */
        snprintf(what, sizeof what, "KVM exit %u (%s), which vmlet did not ask for", code,
                 vcpu_exit_name(code) ? vcpu_exit_name(code) : "no name known");
    }
    stop(vcpu, reason, what);
    return false;
}

void exit_failed(struct vcpu *vcpu, int error)
{
    char what[160];
    const char *remedy = "";
    if (error == EFAULT)
        remedy =
            " (a page of guest RAM cannot be had: is its file shorter now, or the host out of huge pages?)";
    else if (error == ENOMEM)
        remedy = " (the host is out of memory)";
    snprintf(what, sizeof what, "KVM_RUN: %s%s", strerror(error), remedy);
    stop(vcpu, VCPU_STOP_KVM_ERROR, what);
}
