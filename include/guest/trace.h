/* SPDX-License-Identifier: MIT
 *
 * --trace LIST, --trace-file FILE: the conversation between guest and devices, a line for each word of it.
 *
 *     time in s   vCPU  program counter   what
 *        0.012345 cpu0  0x40101b          edu0 W DMA_CMD=0x5 RUN IRQ (16 bytes from RAM at 0x1f000)
 *        0.112345 -     -                 edu0 dma R 0x1f000+16
 *        0.112347 -     -                 edu0 IRQ 0x100 -> MSI vector 33
 *        0.112401 cpu0  0x401033          edu0 R INTR_STATUS=0x100 DMA
 *
 * LIST, divided by commas: a class or a device's id (its registers, DMA, interrupts, drops, misuse, resets), or of all devices
 * one kind: pci (configuration space of the functions that are there), irq (interrupts, lines), dma, mem (map changes); or all.
 * What is traced has no ioeventfds and no coalesced writes, so that every word is seen. A device that keeps a place in RAM
 * (virtio's rings) says so once, where it looks it up.
 *
 * The lines go to standard error; --trace-file writes the same as JSON, an object a line:
 *
 *     {"t":12345000,"cpu":0,"pc":"0x40101b","dev":"edu0","class":"edu","op":"W","reg":"DMA_CMD","size":4,"value":"0x5",
 *      "bits":{"RUN":1,"IRQ":1},"led":"16 bytes from RAM at 0x1f000"}
 *
 * On a terminal the text says of a line that comes again at once, as when a driver polls, how often it did (and again each second
 * that it goes on); elsewhere, and in the file, each of them stands.
 *
 * With --symbols the program counter has its name behind it, and the object an "at": "iowrite32+0x1b".
 *
 * t in ns since the start; op R, W (with "space":"config" for configuration space, "error" where it was refused), dma ("dir",
 * "addr", "len"), irq ("up", "cause", "led"), drop, misuse, fault, reset, line, mem ("text"). Numbers that may need 64 bits are
 * strings. The program counter is KVM's in the middle of an exit: that of the instruction for a read, the one behind for a write.
 *
 * Nobody waits for a reader: lines are put into a ring (TRACE_RING bytes) that a thread writes out. What finds no room is counted,
 * and a line ("lost":N) stands in its place. A descriptor that fails (full disk, closed FIFO) ends that output with a warning;
 * the guest goes on.
 *
 * Threads: set-up and loop thread; the lines come from any, under LOCK_TRACE.
 */
#ifndef GUEST_TRACE_H
#define GUEST_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm/host/opts.h"

struct board;
struct trace;

enum {
    TRACE_RING = 4 << 20,
};

struct trace_config {
    struct board *board; /* with all its devices */
    const struct opt_list *list;
    const char *file;  /* NULL: none */
    uint64_t patience; /* ns that a FIFO's reader is waited for */
    int text_fd;
    size_t ring; /* 0: TRACE_RING */
    /* The vCPU whose thread this is; false: none's. */
    bool (*where)(void *ctx, unsigned *cpu, uint64_t *pc);
    /* After it, on the same thread: the name of the code there, in buf; "" for none. NULL: nothing has one. */
    const char *(*name)(void *ctx, uint64_t pc, char *buf, size_t size);
    void *ctx;
};

/* NULL: a sentence in err. No vCPU runs yet. */
struct trace *trace_new(const struct trace_config *config, char *err, size_t errlen);
/* A map change (mem/maplog.h); for its tell. trace NULL: nothing. */
void trace_map(void *trace, const char *line);
/* Loop thread, outside of the loop, which it runs: until all is written, for that time at most. */
void trace_drain(struct trace *trace, uint64_t ns);
/* Lines for which there was no room. */
uint64_t trace_lost(struct trace *trace);
/* After the last line: no vCPU runs, the loop neither. NULL is fine. */
void trace_free(struct trace *trace);

#endif
