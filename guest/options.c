// SPDX-License-Identifier: MIT
/*
 * The options of `run`: one table, from which parsing, help and errors come; and what follows from options alone: the
 * kernel that lkvm would find, the kernel's command line.
 *
 * lkvm's names keep lkvm's meaning. A word that lkvm has and vmlet has not is refused with the word that replaces it or
 * with what is missing.
 */
#include "guest/machine.h"
#include "devices/serial.h"
#include "guest/gate.h"
#include "guest/netopt.h"
#include "guest/network.h"
#include "guest/repeat.h"
#include "guest/rootfs.h"
#include "guest/share.h"
#include "guest/verdict.h"
#include "kvm/host/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

static const struct opt_word consoles[] = {
    {"serial", CONSOLE_SERIAL, NULL},
    {"none",    CONSOLE_NONE, NULL},
    {"virtio",   CONSOLE_VIRTIO, NULL},
    {"hv",    0, "it is a console of POWER guests (use serial)"},
    {0},
};

static const struct opt_word loglevels[] = {
    {"error",   LOG_LEVEL_ERROR, NULL},
    {"warning",     LOG_LEVEL_WARNING, NULL},
    {"info", LOG_LEVEL_INFO, NULL},
    {"debug",     LOG_LEVEL_DEBUG, NULL},
    {0   },
};

static const char *set_fail_on(void *out, const struct opt *opt, const char *value)
{
    (void)opt;
    return gate_parse(value, &((struct machine_options *)out)->fail_on);
}

#define T struct machine_options
const struct opt machine_option_table[] = {
    OPT_GROUP("The guest"),
    OPT_STRING(
        T, kernel, "kernel", 'k', "FILE",
        "bzImage, vmlinux or Multiboot ELF; the first plain word does too (default: ./bzImage, "
        "arch/x86/boot/bzImage, ../../arch/x86/boot/bzImage, /boot/vmlinuz-RELEASE, /boot/bzImage-RELEASE)"),
    OPT_LIST(T, initrd, "initrd", 'i', "FILE", "initrd; several are joined (Multiboot: a module each)"),
    OPT_JOIN(T, params, "params", 'p', "WORDS", "added to the kernel's command line"),
    OPT_SIZE(T, mem, "mem", 'm', MIB, "RAM; a bare number is MiB", .min = MIB, .max = 64 * TIB,
             .dflt = "64M * (cpus + 3)"),
    OPT_U32(T, cpus, "cpus", 'c', "N", "virtual CPUs", .min = 1, .max = 4096, .dflt = "those of the host"),
    OPT_LIST(T, disks, "disk", 'd', "FILE[,ro][,direct]",
             "a disk: a raw file or a block device; repeatable. A folder, or a NAME of `setup`, is the "
             "guest's root"),
    OPT_LIST(T, share_words, "share", 0, "DIR[,tag=NAME][,ro][,cache=none]",
             "a folder of the host, at the same place in the guest (virtio-fs); `/`: its root, what the "
             "guest writes "
             "stays in its memory; repeatable"),
    OPT_STRING(T, vsock, "vsock", 0, "CID[,path=SOCKET]",
               "streams between the guest's programs (AF_VSOCK) and the host's (Unix sockets)"),
    OPT_FLAG(T, rng, "rng", 0, "a source of random numbers (virtio-rng)"),
    OPT_FLAG(T, balloon, "balloon", 0,
             "memory can be taken back (virtio-balloon; `vmlet balloon`, `stat -m`)"),
    OPT_LIST(T, devices, "device", 0, "CLASS[,id=ID][,key=value...]", "a device; `help` lists the classes"),
    OPT_LIST(T, networks, "network", 'n', "mode=...[,key=value...]",
             "a card and what it is plugged into; `help` lists the keys",
             .dflt = "mode=user; mode=none: no card"),
    OPT_FLAG(T, no_dhcp, "no-dhcp", 0, "do not ask for addresses before the command starts"),
    OPT_STRING(T, name, "name", 0, "NAME", "the guest's name", .dflt = "guest-PID"),
    OPT_FLAG(T, nodefaults, "nodefaults", 0, "no kernel parameters but those of -p"),
    OPT_STRING(T, dev, "dev", 0, "FILE", "the KVM device", .dflt = "/dev/kvm"),

    OPT_GROUP("Its memory"),
    OPT_STRING(T, hugetlbfs, "hugetlbfs", 0, "PATH", "RAM from this hugetlbfs mount"),
    OPT_STRING(T, mem_file, "mem-file", 0, "FILE", "RAM is this file, shared with whoever maps it"),
    OPT_FLAG(T, mem_shared, "mem-shared", 0, "RAM is a memfd"),
    OPT_FLAG(T, mem_prealloc, "mem-prealloc", 0, "take all of the RAM from the host at the start"),

    OPT_GROUP("The command (what stands after --)"),
    OPT_LIST(T, env, "env", 0, "NAME[=VALUE]",
             "a variable of its environment (without a value: vmlet's own)"),
    OPT_STRING(T, cwd, "cwd", 0, "DIR", "the folder of the guest that it runs in",
               .dflt = "the one that vmlet is in"),
    OPT_STRING(T, user, "user", 0, "USER[:GROUP]", "who it runs as: a number, or a user of the host",
               .dflt = "root"),
    OPT_LIST(T, add, "add", 0, "FILE[:PATH]", "put a file or folder into the generated initramfs"),
    OPT_LIST(T, module, "module", 0, "NAME|FILE[,param=...]", "a kernel module to load first"),
    OPT_STRING(T, modules_dir, "modules-dir", 0, "DIR", "where the kernel's modules are",
               .dflt = "lib/modules/RELEASE beside the kernel or in /"),

    OPT_GROUP("Input, output, result"),
    OPT_ENUM(T, console, "console", 0, consoles, "what the guest's console is", .dflt = "serial"),
    OPT_STRING(T, kernel_log, "kernel-log", 0, "FILE|stderr|stdout|none", "where the kernel's log goes",
               .dflt = "stderr with a command, stdout without"),
    OPT_TIME(T, timeout, "timeout", 0, "end the guest after that time, status 124", .dflt = "0: none"),
    OPT_STRING(T, result, "result", 0, "FILE", "write how it ended: source, status, reason, detail, times",
               .flags = OPT_OUTER),
    OPT_STRING(T, report, "report", 0, "FILE", "as --result, for whoever started this",
               .flags = OPT_HIDDEN | OPT_OUTER),
    OPT_TIME(T, silence, "silence-timeout", 0,
             "end the guest when nothing came from it for that time, status 124", .dflt = "0: none"),
    OPT_CALL("fail-on", 0, set_fail_on, "LIST",
             "what makes a run that ended well fail, with status 123: warn, bug, oops, kasan, ubsan, kcsan, "
             "lockdep, hung, rcu, leak, taint in the kernel's log; lint; tests (KTAP in the output) that "
             "failed, or none"),
    OPT_LIST(T, allow, "allow", 0, "REGEX",
             "excuse trouble in the kernel's log: a report in which a line matches"),
    OPT_STRING(T, junit, "junit", 0, "FILE", "write the run, its tests and its trouble as JUnit XML",
               .flags = OPT_OUTER),
    OPT_STRING(T, symbols, "symbols", 0, "FILE",
               "vmlinux or System.map: addresses in reports, register dumps and traces get names"),
    OPT_ENUM(T, loglevel, "loglevel", 0, loglevels, "how much vmlet says about itself", .dflt = "warning"),

    OPT_GROUP("Driver bring-up"),
    OPT_LIST(T, trace, "trace", 0, "LIST",
             "a line for every access to these devices (edu,e1000…), or to all of one kind: pci, irq, dma, "
             "mem; all"),
    OPT_STRING(T, trace_file, "trace-file", 0, "FILE", "the trace as JSON lines, too"),
    OPT_LIST(T, faults, "fault", 0, "ID:EVENT[.ARG]:ACTION@K",
             "the K-th read, write, dma, irq… of a device meets drop, double, spurious, ones, fail, delay or "
             "flap"),
    OPT_FLAG(T, lint, "lint", 0, "report what drivers do wrong, each thing once"),
    OPT_GROUP("Many boots"),
    OPT_U32(T, repeat, "repeat", 0, "N",
            "the same boot N times; ends with the status of the first that failed", .min = 1,
            .flags = OPT_OUTER),
    OPT_FLAG(T, until_fail, "until-fail", 0, "the same boot until one fails (or N have not, with --repeat N)",
             .flags = OPT_OUTER),
    OPT_STRING(
        T, probe_sweep, "probe-sweep", 0, "CLASS|ID",
        "the same boot with the K-th register read of that device giving ones, for each K, then with the "
        "K-th DMA failing, then with the K-th interrupt lost; 1 if the kernel dies, warns or hangs",
        .flags = OPT_OUTER),
    OPT_U32(T, sweep_max, "sweep-max", 0, "N", "at most so many Ks of each kind, evenly spread", .min = 1,
            .dflt = "100", .flags = OPT_OUTER),
    OPT_U32(T, jobs, "jobs", 'j', "N", "how many boots run at a time", .min = 1, .max = 1024, .dflt = "1",
            .flags = OPT_OUTER),
    OPT_STRING(T, logs, "logs", 0, "DIR", "the output of each boot as a file there", .flags = OPT_OUTER),

    OPT_GROUP("Looking into it"),
    OPT_STRING(T, gdb, "gdb", 0, "PORT|PATH", "wait for gdb at 127.0.0.1:PORT, or at a Unix socket"),
    OPT_FLAG(T, gdb_wait, "gdb-wait", 0, "the guest starts when gdb says so"),

    /* lkvm's words */
    OPT_REFUSED("9p", 0, "there is no 9p (--share DIR[,tag=NAME] shares a folder over virtio-fs)"),
    OPT_REFUSED("tty", 0,
                "no serial port is put on a pty (--device virtio-console,port=NAME=unix:PATH is a channel of "
                "its own)"),
    OPT_REFUSED("sdl", 0, "there is no display (use --console serial)"),
    OPT_REFUSED("vnc", 0, "there is no display (use --console serial)"),
    OPT_REFUSED("gtk", 0, "there is no display (use --console serial)"),
    OPT_REFUSED("vidmode", 0, "there is no display (use --console serial)"),
    OPT_REFUSED("firmware", 'f', "kernels are entered directly (use -k)"),
    OPT_REFUSED("flash", 0, "kernels are entered directly (use -k)"),
    OPT_REFUSED("shmem", 0, "use --device ivshmem-plain,path=FILE,size=SIZE"),
    OPT_REFUSED("sandbox", 0, "use `-- COMMAND`, or `vmlet sandbox`"),
    OPT_REFUSED("vfio-pci", 0, "the host's devices are not passed through"),
    OPT_REFUSED("virtio-transport", 0, "virtio devices are on PCI (with ,legacy: as 0.9.5 has them, too)"),
    OPT_REFUSED("debug", 0, "use --loglevel debug"),
    OPT_REFUSED("debug-single-step", 0, "use --gdb"),
    OPT_REFUSED("debug-iodelay", 0, "accesses are not slowed (--fault ID:irq:delay@K makes interrupts late)"),
    OPT_REFUSED("debug-ioport", 0, "unclaimed accesses are counted in `vmlet info NAME stats`"),
    OPT_REFUSED("debug-mmio", 0, "unclaimed accesses are counted in `vmlet info NAME stats`"),
    /* QEMU's */
    OPT_REFUSED("smp", 0, "use -c N"),
    OPT_REFUSED("append", 0, "use -p WORDS"),
    OPT_REFUSED("drive", 0, "use -d FILE"),
    OPT_REFUSED("hda", 0, "use -d FILE"),
    OPT_REFUSED("netdev", 0, "use -n mode=..."),
    OPT_REFUSED("nic", 0, "use -n mode=..."),
    OPT_REFUSED("virtfs", 0, "use --share DIR"),
    OPT_REFUSED("cpu", 0, "the CPU is the host's"),
    OPT_REFUSED("machine", 'M', "there is one machine"),
    OPT_REFUSED("enable-kvm", 0, "there is nothing but KVM"),
    OPT_REFUSED("nographic", 0, "there is no display (the console is on the terminal)"),
    OPT_REFUSED("display", 0, "there is no display (the console is on the terminal)"),
    OPT_REFUSED("serial", 0, "use --console, --kernel-log"),
    OPT_REFUSED("monitor", 0, "`vmlet info`, `link`, `stop` talk to a guest by its --name"),
    OPT_REFUSED("qmp", 0, "`vmlet info`, `link`, `stop` talk to a guest by its --name"),
    OPT_REFUSED("no-reboot", 0, "a reboot ends the guest as it is"),
    OPT_REFUSED("snapshot", 0, "use -d FILE,ro"),
    OPT_REFUSED("s", 's', "use --gdb PORT"),
    OPT_REFUSED("S", 'S', "use --gdb-wait"),
    OPT_END,
};

#undef T

void machine_options_init(struct machine_options *o)
{
    *o = (struct machine_options){.console = CONSOLE_SERIAL, .loglevel = LOG_LEVEL_WARNING};
}

const char *machine_options_parse(int argc, char **argv, struct machine_options *o)
{
    struct opts_rest rest;
    const char *error = opts_parse(machine_option_table, argc, argv, o, &rest);
    if (error)
        return error;
    int plain = 0;
    if (!o->kernel && rest.n_words)
        o->kernel = rest.words[plain++];
    if (plain < rest.n_words)
        return opts_say("%s: one kernel is enough (the guest's command goes after --)", rest.words[plain]);
    if (rest.command && rest.n_command == 0)
        return "--: the command is missing";
    o->command = rest.command;
    o->n_command = rest.n_command;
    for (size_t i = 0; i < o->networks.n; i++)
        if (!strcmp(o->networks.v[i], "help"))
            return NULL; /* answered by who has a standard output */
    o->default_net = !o->networks.n;
    if ((error = netopt_parse(&o->networks, &o->nets, &o->n_nets)) || (error = network_check(o)))
        return error;
    if ((error = rootfs_options(o)))
        return error;
    if ((error = share_parse(&o->share_words, &o->shares, &o->n_shares)))
        return error;
    if (o->gdb_wait && !o->gdb)
        return "--gdb-wait: for whom? (give --gdb PORT|PATH too)";
    if ((error = repeat_check(o)))
        return error;
    if ((error = verdict_check(o)))
        return error;
    if (o->fail_on >> GATE_LINT & 1)
        o->lint = true; /* nothing would be found */
    if (!!o->hugetlbfs + !!o->mem_file + o->mem_shared > 1)
        return "--hugetlbfs, --mem-file and --mem-shared exclude each other";
    return NULL;
}

enum {
    KERNEL_PLACES = 5
};
static bool kernel_places(const char *places[KERNEL_PLACES])
{
    struct utsname un;
    if (uname(&un) < 0)
        return false;
    places[0] = "./bzImage";
    places[1] = "arch/x86/boot/bzImage";
    places[2] = "../../arch/x86/boot/bzImage";
    places[3] = opts_say("/boot/vmlinuz-%s", un.release);
    places[4] = opts_say("/boot/bzImage-%s", un.release);
    return true;
}

const char *machine_find_kernel(void)
{
    const char *places[KERNEL_PLACES];
    bool known = kernel_places(places);
    for (size_t i = 0; known && i < KERNEL_PLACES; i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

const char *machine_no_kernel(void)
{
    const char *places[KERNEL_PLACES], *looked = "";
    bool known = kernel_places(places);
    for (size_t i = 0; known && i < KERNEL_PLACES; i++) {
        if (access(places[i], F_OK) == 0)
            return opts_say("%s is there, but not ours to read", places[i]);
        looked = opts_say("%s%s%s", looked, *looked ? ", " : "", places[i]);
    }
    return opts_say("there is none of %s", looked);
}

/* A command's own words are what the user waits for: of the kernel's log only warnings and worse are printed, unless the log
 * was asked for by name. Each printed character costs an exit. */
bool machine_log_is_cut(const struct machine_options *o)
{
    bool wanted = o->junit || o->fail_on & (1u << KLOG_LEAK | 1u << KLOG_TAINT |
                                            1u << GATE_TESTS); /* printed as information or notice */
    return o->command && !o->kernel_log && !wanted && !o->nodefaults;
}

/* hvc0 is the console as soon as its driver comes, and prints what comes from then on; before that the early console does, and
 * goes: so the log is whole, and nothing is said twice. With --kernel-log and no command COM1 has the log to itself. */
static const char *virtio_cmdline(const struct machine_options *o, const char *level, bool own)
{
    const char *params = o->params ? o->params : "", *blank = *params ? " " : "";
    if (o->kernel_log && !o->command)
        return opts_say("console=ttyS0 console=hvc0 panic=-1%s%s%s", level, blank, params);
    if (own)
        return opts_say("console=hvc0 panic=-1%s%s%s", level, blank, params);
    return opts_say("console=hvc0 panic=-1%s%s%s %s", level, blank, params, SERIAL_SHADOW_EARLYCON_BOOT);
}

const char *machine_cmdline(const struct machine_options *o)
{
    const char *level = "", *params = o->params ? o->params : "", *blank = *params ? " " : "";
    if (o->nodefaults)
        return params;
    if (machine_log_is_cut(o))
        level = " loglevel=5";
    if (o->console == CONSOLE_NONE)
        return opts_say("panic=-1%s%s%s", level, blank, params);
    /* With a command nobody types at the console, it only tells: the early console does that from the first line on, at
     * half the exits (devices/serial.h). It prints what came before as soon as it is read, so that loglevel and quiet
     * have to stand before it. Not beside a console of the user's own, which may be the same port; and what follows a
     * "--" is for init. */
    bool own = strstr(params, "console=") || strstr(params, "earlycon") || strstr(params, "--");
    if (o->console == CONSOLE_VIRTIO)
        return virtio_cmdline(o, level, own);
    if (o->command && !own)
        return opts_say("panic=-1%s%s%s %s", level, blank, params, SERIAL_SHADOW_EARLYCON);
    return opts_say("console=ttyS0 panic=-1%s%s%s", level, blank, params);
}
