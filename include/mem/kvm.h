/* SPDX-License-Identifier: MIT
 *
 * The listeners' ops tables over the real KVM: mem/slots.h and mem/ioevent.h joined with kvm/vm.h and kvm/vcpu.h. The
 * link is the machine's and lives as long as it; vcpus may still be NULL when the listeners are made, and is to be set
 * before vCPUs start.
 */
#ifndef MEM_KVM_H
#define MEM_KVM_H

#include "mem/ioevent.h"
#include "mem/slots.h"

struct vm;
struct vcpus;

struct kvm_link {
    struct vm *vm;
    struct vcpus *vcpus;
};

struct slots *slots_new_kvm(struct space *memory, struct kvm_link *link);
struct ioevents *ioevents_new_kvm(struct space *memory, struct space *io, struct kvm_link *link);

#endif
