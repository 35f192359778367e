/* SPDX-License-Identifier: MIT
 *
 * What a guest starts with: the kernel, its initrds and the generated initramfs, its command line, the ACPI tables, the
 * seed of its random numbers; all of it in guest RAM before the first vCPU runs.
 *
 * Set-up thread. Whatever is wrong is the user's or the host's fault: die(), or the status that the contract gives it
 * (126 for a command that this kernel cannot run).
 */
#ifndef GUEST_PAYLOAD_H
#define GUEST_PAYLOAD_H

#include "guest/boot.h"
#include "guest/machine.h"

struct cpio;

struct payload {
    const struct machine_options *options;
    const char *kernel; /* the file */
    struct boot *boot;
    bool is_32bit;        /* the kernel is a 32-bit program */
    bool narrow;          /* a kernel that may see 32 bits of addresses only: nothing is put above them */
    struct cpio *archive; /* the generated initramfs; NULL: none */
};

/* Opens the kernel (looked for where lkvm does, if none is named) and builds the initramfs: all that can be known to be
 * wrong before KVM is touched. */
void payload_open(struct payload *p, const struct machine_options *o);

/* Puts it into RAM, gives the first vCPU's state, and closes all that payload_open() opened. phys_bits: of the guest's
 * CPUs. */
void payload_load(struct payload *p, struct ram *ram, unsigned cpus, unsigned phys_bits,
                  struct boot_state *state);

#endif
