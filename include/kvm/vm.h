/* SPDX-License-Identifier: MIT
 *
 * One virtual machine as KVM sees it: /dev/kvm opened and asked what it can do, the VM's file descriptor, the
 * interrupt controllers in the kernel, memslots, ioeventfds, coalesced zones, dirty log. A thin layer: it
 * turns arguments into ioctls and answers 0 or -errno; what to do about a failure, which slot number is free,
 * how a range is cut into slots is the business of mem/slots.c and mem/ioevent.c.
 *
 * Owner: guest/machine.c. vm_open() and vm_close() belong to the set-up thread; all else may be called from
 * any thread with any lock held (the kernel serialises), except where it says otherwise.
 *
 * What KVM can do is asked of KVM (KVM_CHECK_EXTENSION), by name: a missing capability is one sentence that
 * says what it is for and from which kernel on it is there.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, sections 4.x as named at each function.
 */
#ifndef KVM_VM_H
#define KVM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

/* Guest physical pages that Intel's KVM needs for itself (4.35 KVM_SET_TSS_ADDR: three pages; 4.41 identity
 * map: one). Between the local APIC and the 4 GiB end, where there is no RAM, and in no window of the guest
 * contract. */
enum {
    VM_PAGE = 4096,
};
#define VM_IDENTITY_MAP_ADDR UINT64_C(0xFEFFC000)
#define VM_TSS_ADDR          UINT64_C(0xFEFFD000)

/* APIC IDs are the vCPU's numbers and have to fit in 8 bits: no interrupt remapping here, and 255 is
 * broadcast. */
enum {
    VM_MAX_VCPUS = 254,
};

/* A VM with no memory and no vCPU; vcpus_new() gives it the in-kernel PIC, IOAPIC, local APICs and PIT, and is best
 * called after the memory slots were set (kvm/priv.h says why). path: NULL for /dev/kvm. NULL on
 * failure, with one sentence in err that names the remedy. */
struct vm *vm_open(const char *path, char *err, size_t err_size) __attribute__((warn_unused_result));
/* After vcpus_free(). The slots' memory stays the caller's. */
void vm_close(struct vm *vm);

/* KVM_CAP_MAX_VCPUS, at most VM_MAX_VCPUS. */
unsigned vm_max_vcpus(const struct vm *vm);
/* KVM_CAP_NR_MEMSLOTS. */
unsigned vm_max_slots(const struct vm *vm);
/* 4.55 KVM_GET_TSC_KHZ of the guest; 0 when KVM does not say. Known after vcpus_new(). */
unsigned vm_tsc_khz(const struct vm *vm);
/* The guest's physical address width, as its CPUID will say (leaf 0x80000008). */
unsigned vm_phys_bits(struct vm *vm);

/* --- memslots (4.35 KVM_SET_USER_MEMORY_REGION). size 0 deletes. Changes of gpa or size need a deletion
 * first; of flags alone need none (read-only cannot be changed in place: EINVAL). Deleting is visible to
 * running vCPUs when the call returns. */
enum vm_slot_flags {
    VM_SLOT_READONLY = 1 << 0, /* guest writes exit as MMIO */
    VM_SLOT_LOG = 1 << 1,      /* dirty log: starts with all pages clean */
};
struct vm_slot {
    uint32_t slot;  /* below vm_max_slots() */
    uint32_t flags; /* enum vm_slot_flags */
    uint64_t gpa, size;
    void *host; /* both page-aligned */
};
int vm_slot_set(struct vm *vm, const struct vm_slot *slot) __attribute__((warn_unused_result));

/* Largest size of one slot, in bytes, page-aligned (KVM_MEM_MAX_NR_PAGES: 2^31 - 1 pages). */
uint64_t vm_slot_max_size(void);

/* --- dirty log with manual protection (4.8, 4.117). One bit a page, the slot's page 0 in bit 0 of the first
 * word; the bitmap has vm_dirty_words(slot size) words. get() reads and changes nothing (pages stay writable
 * and dirty); clear() takes the pages whose bits are set, from the slot's page `first` on, and counts their
 * writes from then on. first is a multiple of 64; n is one too, or ends at the slot's end; bitmap's bit 0 is
 * page `first`. */
int vm_dirty_get(struct vm *vm, uint32_t slot, uint64_t *bitmap) __attribute__((warn_unused_result));
int vm_dirty_clear(struct vm *vm, uint32_t slot, uint64_t first, uint32_t n, const uint64_t *bitmap)
    __attribute__((warn_unused_result));
static inline size_t vm_dirty_words(uint64_t size)
{
    return (size / VM_PAGE + 63) / 64;
}

/* --- ioeventfd (4.59). A guest write at addr signals fd instead of leaving the kernel. size 1, 2, 4, 8 (8:
 * memory only); 0 means any width, and then no match. match: only when the value written equals `value`.
 * Deassign with the same fields. EEXIST: there is one already that would take the same write. */
struct vm_ioeventfd {
    bool pio;
    bool match;
    uint8_t size;
    uint64_t addr;
    uint64_t value;
    int fd;
};
int vm_ioeventfd_add(struct vm *vm, const struct vm_ioeventfd *e) __attribute__((warn_unused_result));
int vm_ioeventfd_del(struct vm *vm, const struct vm_ioeventfd *e);

/* --- coalesced I/O (4.116): guest writes in the zone are put in a ring and leave the kernel with the next
 * exit of any vCPU. The ring is drained in order through the vCPUs' own pio/mmio callbacks (count 1): by each
 * vCPU before it dispatches an exit, and by vcpus_drain() (vcpu.h). EOPNOTSUPP: KVM has no such ring (ports:
 * since Linux 5.4); then the writes exit one by one and nothing else changes. */
int vm_coalesce_add(struct vm *vm, bool pio, uint64_t addr, uint32_t size)
    __attribute__((warn_unused_result));
int vm_coalesce_del(struct vm *vm, bool pio, uint64_t addr, uint32_t size);

#endif
