/* SPDX-License-Identifier: MIT
 *
 * A console with its two serial ports on a board without KVM. The console serves the process's own standard streams, so each
 * test's host is a child process; what the guest says is the test's own.
 */
#ifndef TESTS_UNIT_CONSOLE_BOARD_H
#define TESTS_UNIT_CONSOLE_BOARD_H

#include "devices/serial.h"
#include "fake_board.h"
#include "guest/console.h"
#include "guest/init_proto.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    COM1 = 0x3f8,
    COM2 = 0x2f8,
    LSR_DR = 0x01,
    LSR_THRE = 0x20,
};

static struct fake_board fb;
static uint8_t guest_seq; /* of the next frame */
static bool drained;      /* all that the guest said has been taken */

static inline void on_drained(void *ctx)
{
    (void)ctx;
    drained = true;
}

/* With a command, its FIFOs on; NULL: there is no such console. */
static inline struct console *console_on_board(void (*watch)(void *, enum watch_event, const char *),
                                               void (*hello)(void *),
                                               void (*status)(void *, const struct channel_status *))
{
    char err[256];
    board_make(&fb);
    struct console_config config = {
        .loop = fb.b.loop,
        .com1 = board_device(&fb, &serial_class, "index=0"),
        .com2 = board_device(&fb, &serial_class, "index=1"),
        .command = true,
        .kernel_log = "none",
        .watch = watch,
        .hello = hello,
        .status = status,
        .escape = hello,
    };
    struct console *c = console_new(&config, err, sizeof err);
    outb(&fb, COM2 + 2, 0x81); /* FCR */
    return c;
}

/* A moment for the streams, which have threads of their own. false: it is past `end`. */
static inline bool console_moment(time_t end)
{
    board_pass(&fb, 1000000);
    nanosleep(&(struct timespec){0, 200000}, NULL);
    return time(NULL) <= end;
}

#endif
