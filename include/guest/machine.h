/* SPDX-License-Identifier: MIT
 *
 * The guest machine as a whole: from options to a board with vCPUs, through the run, to an exit status. The only unit
 * that knows everybody; nothing below knows it.
 *
 *   machine_run():  check options -> open kernel and KVM -> RAM, spaces, devices -> initramfs, ACPI, boot_load ->
 *                   vCPU threads -> the loop, until an end -> vCPUs stopped, output flushed, result written
 *
 * Threads: the caller's becomes the loop thread. The end may come from any thread (exit port, power-off, triple fault:
 * a vCPU's; timeout, signal, status frame, panic on the console, `stop`: the loop's): machine_end() keeps the first under
 * its own lock and lets the loop do the rest.
 */
#ifndef GUEST_MACHINE_H
#define GUEST_MACHINE_H

#include "kvm/host/opts.h"

#include <stdbool.h>
#include <stdint.h>

struct net_options;
struct share;

enum machine_console {
    CONSOLE_SERIAL,
    CONSOLE_VIRTIO,
    CONSOLE_NONE,
};

/* As given on the command line; filled in by the option table in guest/options.c. Zero is the default where nothing
 * else is said. */
struct machine_options {
    const char *kernel; /* -k or the first word; NULL: looked for as lkvm does */
    struct opt_list initrd;
    const char *params; /* -p, joined */
    uint64_t mem;       /* bytes; 0: 64 MiB * (cpus + 3), at most 80 % of the host's */
    uint32_t cpus;      /* 0: all online host CPUs, as far as KVM goes */
    struct opt_list disks;
    struct opt_list devices;
    bool rng, balloon;
    const char *vsock; /* CID[,path=SOCKET]; NULL: none */
    struct opt_list share_words;
    struct share *shares; /* what they say, checked: n_shares folders */
    unsigned n_shares;
    struct opt_list networks;
    struct net_options *nets; /* what they say, checked: n_nets cards */
    unsigned n_nets;
    bool default_net; /* nobody said anything: one card in the user network, for Linux */
    bool no_dhcp;
    const char *name; /* NULL: guest-PID */
    int console;      /* enum machine_console */
    const char *kernel_log;
    uint64_t timeout; /* ns, 0: none */
    const char *result;
    const char *report; /* the same for the process that started this one */
    uint32_t repeat;    /* many boots (guest/repeat.h, guest/sweep.h) */
    bool until_fail;
    const char *probe_sweep;
    uint32_t sweep_max, jobs;
    const char *logs;
    bool nodefaults;
    struct opt_list trace;
    const char *trace_file;
    struct opt_list faults;
    bool lint;
    uint32_t fail_on; /* set of 1 << enum gate_word */
    struct opt_list allow;
    const char *junit, *symbols;
    uint64_t silence; /* ns, 0: none */
    int loglevel;     /* enum log_level */
    const char *dev;
    const char *hugetlbfs;
    const char *mem_file;
    bool mem_shared, mem_prealloc;
    struct opt_list add;
    struct opt_list module;
    const char *modules_dir;
    struct opt_list env;
    const char *cwd, *user;
    const char *gdb; /* port or path; NULL: none */
    bool gdb_wait;
    int rtc_base; /* index into the rtc's own words */

    char **command; /* what stands after "--"; NULL: none */
    int n_command;
};

/* The option table of `run` and its defaults; help, parsing and errors come from it. */
extern const struct opt machine_option_table[];
void machine_options_init(struct machine_options *o);

/* Parses the words after `run`. NULL, or a sentence. */
const char *machine_options_parse(int argc, char **argv, struct machine_options *o)
    __attribute__((warn_unused_result));

/* The kernel command line: the default one, then -p. `quiet` is whether nobody asked for the kernel's log: a command's
 * run, whose log is there for warnings and worse only. Returns a string that lives as long as the process. */
const char *machine_cmdline(const struct machine_options *o);

/* Whether the kernel is told to print warnings and worse only. */
bool machine_log_is_cut(const struct machine_options *o);

/* Where lkvm would look for a kernel, the first that can be read; NULL: none. */
const char *machine_find_kernel(void);
/* Why there is none: where was looked. */
const char *machine_no_kernel(void);

/* Runs the guest and returns vmlet's exit status; does not return where the process has to die of a signal. die() for
 * everything that is wrong before the first vCPU runs. */
int machine_run(const struct machine_options *o);

#endif
