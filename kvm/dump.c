/* SPDX-License-Identifier: MIT
 *
 * A vCPU's registers as text, with the code bytes at RIP. The bytes are found as the guest would find them: linear
 * address, translated by KVM (4.36 KVM_TRANSLATE), read through the owner's read_mem.
 */
#include "kvm/priv.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    CODE_BYTES = 15, /* the longest instruction */
    RESET_RIP = 0xfff0,
};
#define RESET_CS_BASE UINT64_C(0xffff0000)

struct text {
    char *at;
    size_t left;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->at, t->left, fmt, ap);
    va_end(ap);
    if (n <= 0)
        return;
    size_t used = (size_t)n < t->left ? (size_t)n : t->left ? t->left - 1 : 0;
    t->at += used;
    t->left -= used;
}

static void add_segment(struct text *t, const char *name, const struct kvm_segment *s)
{
    add(t, "%-4s %04x base %016llx limit %08x type %x s %u dpl %u p %u l %u db %u g %u\n", name, s->selector,
        (unsigned long long)s->base, s->limit, s->type, s->s, s->dpl, s->present, s->l, s->db, s->g);
}

static void code_bytes(struct vcpu *vcpu, uint64_t linear, char *text, size_t size)
{
    struct kvm_translation tr = {.linear_address = linear};
    const struct vcpu_ops *ops = vcpu->all->ops;
    uint8_t bytes[CODE_BYTES];
    unsigned n = VM_PAGE - (unsigned)(linear & (VM_PAGE - 1)); /* the next page is mapped elsewhere */
    size_t at = 0;

    if (n > sizeof bytes)
        n = sizeof bytes;
    if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) < 0 || !tr.valid) {
        snprintf(text, size, "at an unmapped address");
        return;
    }
    if (!ops->read_mem || !ops->read_mem(vcpu->all->ctx, tr.physical_address, bytes, n)) {
        snprintf(text, size, "not in RAM: 0x%llx", (unsigned long long)tr.physical_address);
        return;
    }
    for (unsigned i = 0; i < n && at + 4 < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? " %02x" : "%02x", bytes[i]);
}

void dump_registers(struct vcpu *vcpu, char *text, size_t size, struct report *report)
{
    struct text t = {text, size};
    struct kvm_regs r;
    struct kvm_sregs s;
    struct kvm_mp_state mp = {0};

    if (ioctl(vcpu->fd, KVM_GET_REGS, &r) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0) {
        add(&t, "registers cannot be read\n");
        return;
    }
    report->rip = r.rip;
    report->rip_known = true;
    report->reset = r.rip == RESET_RIP && s.cs.base == RESET_CS_BASE;
    code_bytes(vcpu, s.cs.base + r.rip, report->code, sizeof report->code);
    ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);

    const struct {
        const char *name;
        uint64_t value;
    } general[] = {
        {"RAX",  r.rax      },
        {"RBX",  r.rbx      },
        {"RCX",  r.rcx      },
        {"RDX",  r.rdx      },
        {"RSI",  r.rsi      },
        {"RDI",  r.rdi      },
        {"RSP",  r.rsp      },
        {"RBP",  r.rbp      },
        {"R8",   r.r8       },
        {"R9",   r.r9       },
        {"R10",  r.r10      },
        {"R11",  r.r11      },
        {"R12",  r.r12      },
        {"R13",  r.r13      },
        {"R14",  r.r14      },
        {"R15",  r.r15      },
        {"RIP",  r.rip      },
        {"RFL",  r.rflags   },
        {"CR0",  s.cr0      },
        {"CR2",  s.cr2      },
        {"CR3",  s.cr3      },
        {"CR4",  s.cr4      },
        {"EFER", s.efer     },
        {"APIC", s.apic_base},
    };
    for (size_t i = 0; i < sizeof general / sizeof general[0]; i++)
        add(&t, "%-4s %016llx%s", general[i].name, (unsigned long long)general[i].value,
            i % 4 == 3 ? "\n" : "  ");
    add_segment(&t, "CS", &s.cs);
    add_segment(&t, "DS", &s.ds);
    add_segment(&t, "ES", &s.es);
    add_segment(&t, "FS", &s.fs);
    add_segment(&t, "GS", &s.gs);
    add_segment(&t, "SS", &s.ss);
    add_segment(&t, "TR", &s.tr);
    add_segment(&t, "LDT", &s.ldt);
    add(&t, "GDT  base %016llx limit %04x\nIDT  base %016llx limit %04x\n", (unsigned long long)s.gdt.base,
        s.gdt.limit, (unsigned long long)s.idt.base, s.idt.limit);
    add(&t, "mp state %u\ncode %s\n", mp.mp_state, report->code);
}

static void dump_call(void *arg, struct vcpu *vcpu)
{
    char text[2048] = "";
    struct report report = {0};
    dump_registers(vcpu, text, sizeof text, &report);
    fprintf(arg, "vCPU %u\n%s", vcpu->index, text);
}

void vcpu_dump(struct vcpu *vcpu, FILE *out)
{
    vcpu_call(vcpu, dump_call, out);
}

struct where_call {
    char *buf;
    size_t size;
};

static void where_call(void *arg, struct vcpu *vcpu)
{
    struct where_call *w = arg;
    char text[2048];
    struct report report = {0};
    dump_registers(vcpu, text, sizeof text, &report);
    *w->buf = 0;
    if (report.rip_known && !report.reset)
        snprintf(w->buf, w->size, "at RIP 0x%llx (code %s)", (unsigned long long)report.rip, report.code);
}

void vcpu_where(struct vcpu *vcpu, char *buf, size_t size)
{
    struct where_call w = {buf, size};
    vcpu_call(vcpu, where_call, &w);
}

void vcpu_last_exit(const struct vcpu *vcpu, char *buf, size_t size)
{
    struct last_exit last = vcpu->last;
    const char *name = vcpu_exit_name(last.reason), *what = last.write ? "write to" : "read of";
    *buf = 0;
    if (last.reason == KVM_EXIT_IO)
        snprintf(buf, size, "%s: a %s port 0x%llx", name, what, (unsigned long long)last.where);
    else if (last.reason == KVM_EXIT_MMIO)
        snprintf(buf, size, "%s: a %s 0x%llx", name, what, (unsigned long long)last.where);
    else if (last.reason != KVM_EXIT_UNKNOWN && name)
        snprintf(buf, size, "%s", name);
}
