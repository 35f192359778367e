/* SPDX-License-Identifier: MIT
 *
 * --fault SPEC: devices that do what real ones do on bad days, at a place that can be found again. Repeatable.
 *
 *     SPEC = ID:EVENT[.ARG]:ACTION@K        edu0:irq:drop@2      edu0:read.STATUS:ones@3      net0:link:flap@100
 *
 * The K-th event of that kind at that device (its ARG, if given) meets the action. Counted is what happens, not time: with one vCPU
 * the same run repeats the same fault.
 *
 *   EVENT       ARG               counted
 *   read write  a register        accesses to registers, those in vain too
 *   look        -                 reads of registers, a row of reads of one register as one: so polling has no weight
 *   bar0 … bar5 -                 accesses to registers in that BAR
 *   dma         r, w              transfers; r: from RAM, w: to RAM
 *   irq         a vector          interrupts raised
 *   link        -                 accesses to registers: what a card has to count by
 *
 *   ACTION      events            meaning
 *   drop        all but link      the access, transfer or interrupt gets lost: reads give ones, the device knows nothing of it
 *               link              the cable is out, and stays out
 *   double      all but link      it happens twice
 *   spurious    all but link      an interrupt without a cause comes with it. INTx: the line stays up until the next read of a
 *                                 register; with irq it comes up when the device lowers it
 *   ones        all but link      from here on the function is as if pulled out: registers and configuration read ones, writes,
 *                                 DMA and interrupts get nowhere. read.REG: only that register, only its reads
 *   fail        dma               it is refused, as outside RAM
 *   delay       irq, dma          it comes FAULT_LATE later: an interrupt after its cause, bytes after the device said that they are
 *                                 there. Only transfers to RAM come late
 *   flap        link              the cable is out for FAULT_FLAP
 *   count       all               (without @K) nothing: it is counted how often it could have been
 *
 * Pieces of RAM that a device handed to the host (dma_iov: virtio) cannot get lost or come late: drop refuses them, delay lets
 * them pass. Registers here are those of register tables; of the MSI-X table nothing is lost, and a BAR of none is refused.
 *
 * ID may be a class where the machine has one device of it: edu:irq:drop@2.
 *
 * What was done is in the trace ("edu0 fault: edu0:irq:drop@2"); what was never reached is told at the end, and so is what count
 * has counted. The result file has a line `fault=SPEC N` for each: N such events.
 *
 * Threads: as mem/watch.h; the rest is set-up and loop thread.
 */
#ifndef GUEST_FAULT_H
#define GUEST_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "kvm/host/opts.h"

struct board;
struct faults;

#define FAULT_LATE UINT64_C(10000000) /* ns on the loop's clock */
#define FAULT_FLAP UINT64_C(500000000)

struct fault_config {
    struct board *board;
    const struct opt_list *specs;
    /* A card's cable, on the loop: NULL, or a sentence. May be NULL: no card has one. */
    const char *(*link)(void *ctx, const char *id, const char *word);
    void *ctx;
};

/* NULL: a sentence in err. No vCPU runs yet. */
struct faults *faults_new(const struct fault_config *config, char *err, size_t errlen);
/* Warns of those that never came to pass. */
void faults_end(struct faults *faults);
/* Those lines, as many as fit. */
void faults_counts(const struct faults *faults, char *out, size_t size);
void faults_free(struct faults *faults); /* after the devices' last access */

#endif
