/* SPDX-License-Identifier: MIT
 *
 * The control socket of a running guest, and the other end of it. Socket: $XDG_RUNTIME_DIR/vmlet/NAME.sock, or
 * /tmp/vmlet-UID/NAME.sock where that variable is not set or its folder is not the user's own. The folder is ours, mode
 * 0700, and no symbolic link, or it is refused; the peer's uid must be ours or root's.
 *
 * One command a connection: a line of words (blanks between them, "…" around a word that has some, \ before " and \),
 * answered with any lines and a last one that is `ok` or `error: …`. At most CTL_CLIENTS at a time, further ones wait in the
 * kernel's queue; a client has 5 s for its line, and for each next step in taking the answer. A line is at most CTL_LINE
 * bytes. No client can block or grow the process beyond that and the answers of the commands.
 *
 * Names: letters, digits and _ . - + @, not first a dot or a dash, at most CTL_NAME characters: no name leaves its folder.
 * A socket without a process is removed by whoever finds it (kvm/host/unix_listener.h says how safely).
 */
#ifndef KVM_HOST_CTL_H
#define KVM_HOST_CTL_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include "kvm/host/loop.h"

enum {
    CTL_CLIENTS = 8,
    CTL_LINE = 4096,
    CTL_WORDS = 32,
    CTL_NAME = 64,
};

/* NULL or a sentence: `name "../x": must be …`. */
const char *ctl_name_error(const char *name);

/* --- In the guest's process: loop thread (or set-up) ----------------------------------------------------------------- */

struct ctl;

/* argv: the words after the command's own. What is written to out is the answer. Returns NULL (ok) or an error, which is
 * copied at once: a constant, or made by ctl_say(). Must not block, nor free the ctl. */
typedef const char *ctl_fn(void *arg, int argc, char **argv, FILE *out);

/* A ctl_fn's answer for what takes a moment: what it has written is forgotten, and it is called with the same words again in
 * 10 ms, over and over until it says something else; it has to come to an end within seconds by itself. */
extern const char ctl_later[];

/* A place beside the control socket, which the caller makes and removes: FOLDER/NAME and what follows. The folder is made.
 * NULL and *error. */
const char *ctl_beside(const char *name, const char *suffix, const char **error);

/* NULL and *error on failure: the name is in use, the folder is not safe, the path too long … */
struct ctl *ctl_new(struct loop *loop, const char *name, const char **error);

/* command: one or two words, "pause", "info mtree"; the longest match is called. help: its arguments and what it does, for
 * the built-in command `help`. The strings must outlive the ctl. Set-up; no more than 64. */
void ctl_add(struct ctl *ctl, const char *command, const char *help, ctl_fn *fn, void *arg);

/* Runs one line as if a client had sent it; line is cut into words in place. NULL or an error. Loop thread. */
const char *ctl_command(struct ctl *ctl, char *line, FILE *out);

/* The error of a ctl_fn, in a buffer of the ctl unit's own: valid until the next call. */
const char *ctl_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Closes all connections and removes the socket. NULL is fine. */
void ctl_free(struct ctl *ctl);

/* --- In `vmlet info` and its like: any thread; may block up to 30 s --------------------------------------------------- */

/* Sends the command and copies the answer's lines, but not the last, to out. NULL when that was `ok`, else a sentence that
 * lives as long as the process. */
const char *ctl_call(const char *name, int argc, const char *const *argv, FILE *out)
    __attribute__((warn_unused_result));

/* Calls each() for every guest that runs, sorted by name; removes the sockets of those that do not. A folder that does not
 * exist is no error. */
const char *ctl_list(void (*each)(void *arg, const char *name, pid_t pid), void *arg)
    __attribute__((warn_unused_result));

#endif
