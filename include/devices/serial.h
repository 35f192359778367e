/* SPDX-License-Identifier: MIT
 *
 * Serial ports: 16550A (National Semiconductor PC16550D data sheet). Four of them, COM1-COM4 at their usual
 * ports and interrupt lines; each may have a backend, the host's end of the cable.
 *
 * What is kept from a real one and what is not: registers, FIFOs, trigger levels, interrupt priority and
 * clearing, break, modem lines and loopback are; line speed is not (a divisor of 0 or 65535 is as good as any
 * other, and nothing is ever divided by it). A byte written to THR is on the wire at once. So a receive
 * timeout is due as soon as the line is idle: bytes below the trigger level interrupt immediately, as IIR
 * 0xCC.
 *
 * Guest to host: THR -> a bounded ring in the device, under its lock -> one loop task for all that has
 * gathered -> ops->write() -> whatever the backend is. While the ring has no room for another FIFO's worth,
 * THRE stays clear and the guest waits; serial_tx_ready() starts the flow again. No byte is lost unless the
 * guest writes without looking at THRE (Linux's printk does so after 10 ms without progress; its tty layer
 * waits for ever). Those are counted. Host to guest: serial_rx() -> a bounded ring -> receive FIFO -> RBR. A
 * read that empties the FIFO refills it from the ring at once, so a burst costs one interrupt. When the ring
 * has emptied by half after it refused bytes, ops->rx_ready().
 *
 * What a console costs in exits. Linux's 8250 console reads LSR before each byte that it prints: two exits a
 * byte, and no port can change that, until somebody has opened the tty. From then on (kernels from 5.18, with
 * FIFOs, no flow control: serial8250_console_write(), use_fifo) it is one LSR for a FIFO's worth: 17 exits for
 * 16 bytes. The tty layer's own output needs about 20 for 16: IIR, LSR, MSR, 16 bytes, IIR. A 64-byte FIFO
 * (16750) would save little of that, and costs each port more exits to be recognised.
 *
 * The shadow (option) halves it: a page at SERIAL_SHADOW that looks like a port which can only transmit. It is
 * read-only memory, so LSR is read without an exit, and a byte written to THR is one exit and goes the way of the
 * port's own bytes. Linux's early console prints there from its first line on, before there is any other:
 * SERIAL_SHADOW_EARLYCON on the command line, which lasts the whole run. Every kernel that has the 8250 console has
 * that early console, too (SERIAL_8250_CONSOLE selects SERIAL_EARLYCON, since 4.0). It waits for ever where the
 * real one gives up after 10 ms, so that a slow reader loses nothing of the log.
 *
 * Threads: serial_attach() at set-up. The other functions and all ops on the loop thread, with no device lock
 * held; they take the port's.
 */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct device_class;

enum {
    SERIAL_PORTS = 4,
    SERIAL_LEN = 8
};
#define SERIAL_SHADOW               0xfedf0000u /* one page; between IOAPIC and local APIC, in no PCI window */
#define SERIAL_SHADOW_EARLYCON_BOOT "earlycon=uart8250,mmio,0xfedf0000" /* until another console comes */
#define SERIAL_SHADOW_EARLYCON      SERIAL_SHADOW_EARLYCON_BOOT " keep_bootcon"

/* COM1-COM4, for the ACPI tables: {0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}. */
struct serial_place {
    uint16_t port;
    uint8_t gsi;
};
extern const struct serial_place serial_places[SERIAL_PORTS];

struct serial_backend;
struct serial_backend_ops {
    /* Takes up to len bytes from the guest and returns how many; after fewer than len it calls
     * serial_tx_ready() when it can take more, and write is not called before. */
    size_t (*write)(struct serial_backend *b, const uint8_t *data, size_t len);
    /* serial_rx() took less than it was given, and now there is room. NULL: the backend never gives too
     * much. */
    void (*rx_ready)(struct serial_backend *b);
    /* The guest set DTR, RTS or break to this. NULL: ignored. */
    void (*lines)(struct serial_backend *b, bool dtr, bool rts, bool brk);
};
struct serial_backend { /* embedded in its owner */
    const struct serial_backend_ops *ops;
    struct device *port; /* set by serial_attach() */
};

/* Options index=0-3 (COM1-COM4), shadow (one port only). Without a backend: output vanishes, DCD, DSR and CTS are on as with one. */
extern const struct device_class serial_class;

void serial_attach(struct device *serial, struct serial_backend *backend);
/* How many bytes serial_rx() would take now. */
size_t serial_rx_room(struct device *serial);
/* Gives the guest bytes; returns how many were taken. After fewer than len: ops->rx_ready() follows. */
size_t serial_rx(struct device *serial, const void *data, size_t len);
/* Sends a break: LSR.BI with a NUL byte, in order after what was given before. */
void serial_break(struct device *serial);
/* Modem lines in: bits of MSR's upper half (0x10 CTS, 0x20 DSR, 0x40 RI, 0x80 DCD). At start CTS | DSR |
 * DCD. */
void serial_modem(struct device *serial, uint8_t lines);
/* The backend can take bytes again. */
void serial_tx_ready(struct device *serial);
/* Nothing waits to be given to the backend. At the end of a run: step the loop until it is true or time is
 * up. */
bool serial_tx_idle(struct device *serial);

#endif
