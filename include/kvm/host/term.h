/* SPDX-License-Identifier: MIT
 *
 * The user's terminal. Raw mode hands every key to the guest; it is put right again by term_restore(), which runs at exit()
 * (so after die() too), and on signals that kill; and around a stop and continue of the process. Output processing (newline
 * to CR LF) stays on, or vmlet's own messages would run down the screen in stairs.
 *
 * One terminal a process, that on standard input. Set-up and loop thread, but term_restore() anywhere, even in a signal
 * handler.
 */
#ifndef KVM_HOST_TERM_H
#define KVM_HOST_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes fd raw if it is a terminal of which this process has the foreground, and says whether it is now. False when it is no
 * terminal (then nothing is to be done), or when it belongs to another job (then term_continued() does it later). */
bool term_raw(int fd);

/* fd is a terminal, and another job has its foreground: who reads from it is stopped (SIGTTIN). */
bool term_is_anothers(int fd);

/* As it was before term_raw(). Async-signal-safe; harmless when there is nothing to restore. */
void term_restore(void);

/* After SIGCONT: raw again if it was, or should have been. Called by kvm/host/signals.c. */
void term_continued(void);

/* False when fd is no terminal or does not know. */
bool term_size(int fd, uint16_t *columns, uint16_t *rows);

/* --- Escapes: no I/O ------------------------------------------------------------------------------------------------- */

/* lkvm's keys: Ctrl-a x ends the guest, Ctrl-a Ctrl-a is one Ctrl-a; Ctrl-a and another key is that key. Zero-initialise. */
struct term_escape {
    bool armed; /* the last byte was Ctrl-a */
};

/* Filters n bytes in place and returns how many are for the guest; *quit is set when Ctrl-a x was among them (what follows
 * it is dropped), else left as it was. The two keys may come in different calls. */
size_t term_escape_filter(struct term_escape *e, uint8_t *data, size_t n, bool *quit);

#endif
