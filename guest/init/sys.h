/* SPDX-License-Identifier: MIT
 *
 * The thin layer that the in-guest init stands on: system calls by number, four string functions, and what
 * the files of init share. No libc: init is 20 KiB and starts in microseconds, where a static glibc would be
 * 800 KiB of initramfs to copy, unpack and page in at each boot. System calls return -errno. One thread; no
 * allocation but mmap of the command file; all state is static.
 */
#ifndef GUEST_INIT_SYS_H
#define GUEST_INIT_SYS_H

#include "guest/init_proto.h"

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

enum {
    SIG_INT = 2,
    SIG_KILL = 9,
    SIG_USR1 = 10,
    SIG_USR2 = 12,
    SIG_PIPE = 13,
    SIG_TERM = 15,
    SIG_CHLD = 17,

    POLL_IN = 1,
    POLL_OUT = 4,
    POLL_ERR = 8,
    POLL_HUP = 16,
};

struct pollfd {
    int fd;
    short events, revents;
};

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

/* SYS(read, fd, buf, n): any number of arguments up to six, pointers and integers alike. */
#define SYS_CAST(x) ((long)(x))
#define SYS7(n, a, b, c, d, e, f, ...)                                                                       \
    sys6(__NR_##n, SYS_CAST(a), SYS_CAST(b), SYS_CAST(c), SYS_CAST(d), SYS_CAST(e), SYS_CAST(f))
#define SYS(...) SYS7(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* start.c */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int init_main(int argc, char **argv, char **envp);
/* Joins strings up to a NULL into out, cut to size; returns the length. */
size_t text_join(char *out, size_t size, ...) __attribute__((sentinel));
/* "12" */
const char *text_number(char out[24], unsigned long n);
/* What a shell would say: "No such file or directory"; for rare ones "error 71". */
const char *text_error(long error);
/* CLOCK_MONOTONIC */
uint64_t now_ms(void);

/* setup.c: the file systems, devices and the loopback interface. */
void setup_system(void);
void setup_hostname(const char *name);
/* The line to vmlet, raw; -1 and *why when there is none. */
int setup_line(const char **why);
/* Ends the machine. */
enum ending {
    END_NOT,
    END_POWER_OFF,
    END_RESTART,
    END_HALT,
};
_Noreturn void setup_end(enum ending how);

/* command.c */
struct command {
    uint32_t flags, uid, gid, argc, modules, shares;
    struct frame_winsize winsize;
    const char *folder, *hostname, *program;
    char **argv, **envp;
    const char **module; /* path, parameters, path, … */
    const char **share;  /* tag, folder, words, tag, … */
};
/* false and *why: the file is not there or is not sound. */
bool command_read(const char *path, struct command *cmd, const char **why);

/* child.c */
struct child {
    long pid; /* 0: none */
    /* Our ends, -1 when closed. With a pty in_fd and out_fd are the same descriptor. */
    int in_fd, out_fd, err_fd;
    bool pty;
};
/* Starts the command; STATUS_FAILED's value (126, 127, 125) and text when it cannot be, else 0. */
int child_start(struct child *child, const struct command *cmd, char *text, size_t size);
/* The same on the console, with a controlling terminal; there is nothing to pump. */
int child_start_console(struct child *child, const struct command *cmd, char *text, size_t size);
/* Runs a helper to its end; its wait status, or -errno. */
long child_run(const char *path, char *const *argv, char *const *envp);

/* load.c: the modules in order; 0, or 125 and text. log: a sentence for the user. */
const char *last_part(const char *path); /* "c" of "a/b/c" */
int load_modules(const struct command *cmd, char *text, size_t size);

/* share.c: the host's folders in their places; the one that is the root becomes it. False, and text says why. */
bool share_start(const struct command *cmd, char *text, size_t size);
bool share_has_root(const struct command *cmd);

/* net.c: all cards up, and with an address where somebody gives one in time. */
void net_start(const struct command *cmd);

/* root.c: becomes the init of the root that the kernel's command line names; does not return then. True: it names none.
 * False: it cannot be, and text says why. */
bool root_start(char **envp, char *text, size_t size);
/* What is mounted at /newroot becomes the root; the mounts in the list go along. 0 or -errno. */
long root_switch(const char *const *moved);

/* line.c: frames out. */
void line_open(int fd);
void line_log(const char *text);
bool line_control(uint8_t type, const void *payload, uint32_t n); /* always has room for a few */
uint32_t line_room(void);                 /* payload bytes that a data frame may have now */
uint8_t *line_payload(void);              /* where to put them */
void line_data(uint8_t type, uint32_t n); /* frame what was put there */
bool line_busy(void);                     /* bytes wait to be written */
void line_flush(void);                    /* write what the line takes now */

/* pump.c: serves the command until its end is told; does not return in the guest. */
void pump_run(int line_fd, struct child *child, const struct command *cmd);
/* The same when there is no command to serve: tells STATUS_FAILED. */
void pump_failed(int line_fd, struct child *child, const struct command *cmd, uint32_t value,
                 const char *text);
void pump_signals(void); /* SIGCHLD wakes the pump; as process 1 also what `poweroff` and its like send */

#endif
