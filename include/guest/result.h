/* SPDX-License-Identifier: MIT
 *
 * The result contract: how a run ended, as an exit status and as a file.
 *
 * A run ends once. Several things may happen on the way (a panic, then the reset that the kernel does after
 * it; the guest's status, then its power-off), from several threads; result_end() keeps the first, except
 * that a death known before (result_panic) is not overwritten by what follows from it: reset, power-off, halt, triple
 * fault, a CPU that KVM cannot run any further. Nor is what a guest does that was asked to end its own answer: that
 * run was stopped, and the detail has what the guest made of it.
 *
 *   guest reported a status (init's frame, an exit port)     that status, 0-255           source=guest
 *   power-off or reboot, and no command was given            0                            source=vmlet
 *   panic, triple fault, KVM error, halt, stop, gate;
 *   power-off or reboot under a command                      123                          source=vmlet
 *   the time was up                                          124                          source=vmlet
 *   vmlet could not start or go on                           125                          source=vmlet
 *   SIGINT, SIGTERM, SIGHUP                                  vmlet dies of that signal    source=vmlet
 *
 * A run that would end with 0 ends with 125 when --result or --junit could not be written in the end (a full disk).
 *
 * The file is lines of key=value: source, status, reason, detail, time_ms, boot_ms, last_line, warnings, and where tests
 * were seen tests_passed, tests_failed, tests_skipped; a line fault=SPEC N for each --fault. How it is written: guest/report_file.h.
 */
#ifndef GUEST_RESULT_H
#define GUEST_RESULT_H

#include <stdbool.h>
#include <stdint.h>

/* vmlet's own exit statuses, of the other verbs too. */
enum {
    STATUS_DIED = 123, /* it ended without the status that was owed, or the gate caught something */
    STATUS_TIMEOUT = 124,
    STATUS_SETUP = 125, /* wrong words, or trouble on this side */
};

enum end_reason {
    END_NONE,
    END_EXITED,   /* status is the guest's, 0-255 */
    END_SIGNALED, /* the guest's command died of a signal: status is 128 + n */
    END_POWEROFF,
    END_REBOOT,
    END_HALTED,
    END_PANIC,
    END_TRIPLE_FAULT,
    END_KVM_ERROR,
    END_TIMEOUT,
    END_GATE,
    END_STOPPED,
    END_SIGNAL, /* vmlet got signal number `status` */
    END_SETUP,
    END_REASONS,
};

struct result {
    enum end_reason reason;
    int status;          /* what the guest reported, or the signal's number; else unused */
    bool command;        /* set at start: a command was given, so a status is owed */
    bool panicked;       /* result_panic() was called */
    bool asked;          /* result_asked() was called */
    char gate[384];      /* what the gate caught first (guest/gate.h); empty: nothing */
    uint64_t time_ms;    /* exec to end */
    uint64_t boot_ms;    /* exec to the guest's first sign of userspace, 0 if none */
    char detail[512];    /* one line, may be empty */
    char last_line[160]; /* of the kernel's log */
    unsigned warnings;   /* reports of trouble in it, of all kinds of --fail-on */
    bool tested;         /* the guest's output had test results: */
    unsigned passed, failed, skipped;
    char faults[1024]; /* lines of guest/fault.h */
};

/* The name used in the file: "triple-fault". */
const char *end_reason_name(enum end_reason reason);

/* Notes that the guest's kernel died, with the line that said so; the end itself is still to come. false: it was known, or
 * the run is over. */
bool result_panic(struct result *r, const char *line);

/* `vmlet stop` asked the guest to end. */
void result_asked(struct result *r);

/* Ends the run: false when it was over before. detail may be NULL. Not thread-safe: the machine's end lock is
 * held. */
bool result_end(struct result *r, enum end_reason reason, int status, const char *detail);

/* What the gate caught: the first one is kept. And, at the very end, what follows from it: a run that ended well failed. */
void result_caught(struct result *r, const char *sentence);
void result_gate(struct result *r);

/* vmlet's own exit status; for END_SIGNAL 128 + n (the caller then dies of the signal itself). */
int result_status(const struct result *r);

/* Finds out whether `path` could be written (a regular file by making and removing the temporary one, anything else unopened):
 * NULL, or a sentence (static buffer). To be asked before the guest starts. */
const char *result_file_check(const char *path);

/* NULL, or a sentence (static buffer). A FIFO's reader is waited for as kvm/host/patient.h says, for `patience` ns. */
const char *result_file_write(const char *path, const struct result *r, uint64_t patience);

#endif
