/* SPDX-License-Identifier: MIT
 *
 * Where the guest's bytes go and the user's come from: COM1 (the kernel's log and the console) and COM2 (the channel to
 * the in-guest init) joined to the process's standard streams.
 *
 *            without a command                        with a command
 *   stdin    -> COM1                                  -> frames on COM2
 *   COM1     -> stdout, or where --kernel-log says    -> stderr, or where --kernel-log says
 *   COM2     -                                        -> frames -> stdout, stderr
 *
 * With a virtio console (hvc), without a command, stdin goes there and not to COM1, and its output to stdout. COM1 has the
 * kernel's log until hvc's driver comes (machine_cmdline()): so both together are one log, from the first line on, and what
 * hvc prints passes a watcher, too. With a command hvc has the kernel's log only, and its output goes where COM1's does.
 *
 * All of COM1 passes the console watcher, whatever becomes of it. Nothing is lost and nothing grows: an output that is
 * full holds the guest's port back; input is read only as far as the guest takes it. A terminal is read all the time, for
 * Ctrl-a x, which ends the guest: keys beyond INPUT_BYTES that the guest has not taken are dropped, as terminals do.
 * Input for COM1 waits until the guest raises RTS, as Linux does when the port is opened: what comes before would be lost
 * with the FIFOs that its driver clears then.
 *
 * Loop thread only; set-up before it runs. Owner: machine.c.
 */
#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

#include "guest/channel.h"
#include "guest/watch.h"

#include <stdbool.h>
#include <stddef.h>

struct board;
struct console;
struct device;
struct loop;

struct console_config {
    struct loop *loop;
    struct device *com1, *com2;
    struct board *board; /* whose virtio consoles are to be drained at the end; may be NULL */
    struct device *hvc;  /* a virtio-console whose terminal is ours, or NULL */
    bool command;        /* a channel on COM2 */
    bool interactive;    /* without a command: stdin and stdout belong to the guest's console, hvc or COM1 */
    bool terminal;       /* stdin is one, and its keys are for the guest as they come */
    const char *kernel_log; /* as given: FILE, "stderr", "stdout", "none"; NULL: the default */
    uint64_t patience;      /* ns, for the reader of a --kernel-log that is a FIFO */

    void (*watch)(void *ctx, enum watch_event event, const char *line);
    void (*output)(void *ctx, bool is_stdout, const void *bytes,
                   size_t n); /* of a command's, that was taken; may be NULL */
    void (*hello)(void *ctx); /* the in-guest init runs */
    void (*status)(void *ctx, const struct channel_status *st); /* the command ended */
    void (*escape)(void *ctx);                                  /* Ctrl-a x */
    void *ctx;
};

/* NULL: err has a sentence (the log file cannot be opened, no memory). Puts the terminal into raw mode. */
struct console *console_new(const struct console_config *config, char *err, size_t err_size)
    __attribute__((warn_unused_result));

/* The user's terminal has another size: the command is told, and hvc's driver. */
void console_window_changed(struct console *c);

/* The command is to end: SIGTERM, and SIGKILL after that time; then its status comes. False: there is no command. */
bool console_stop(struct console *c, uint32_t grace_ms);

/* Calls done(ctx) on the loop once nothing of the guest's output waits any more: not in the ports, not in the channel, not
 * in the streams. For the end of a run, when the vCPUs have stopped; once. */
void console_drain(struct console *c, void (*done)(void *ctx));

/* NULL, or the sentence that says why output could not be delivered in full (a full disk; not EPIPE), a command's
 * or the log, or was damaged on its way. */
const char *console_failed(const struct console *c);

/* Restores the terminal and closes what was opened. What still waits is lost. */
void console_free(struct console *c);

#endif
