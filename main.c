// SPDX-License-Identifier: MIT
/*
 * The verbs. Each is a line of a table with what it takes and what it does; `help` and the errors come from the same
 * lines. `run` makes a guest (guest/machine.h); the others talk to one that runs, over its control socket.
 */
#include "guest/batch.h"
#include "guest/classes.h"
#include "guest/list.h"
#include "guest/machine.h"
#include "guest/netopt.h"
#include "guest/result.h"
#include "guest/rootfs.h"
#include "guest/repeat.h"
#include "guest/sweep.h"
#include "guest/tracediff.h"
#include "kvm/host/ctl.h"
#include "kvm/host/log.h"
#include "kvm/host/signals.h"
#include "kvm/host/stream.h"

#include <ctype.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION "0.1"

struct verb {
    const char *name, *args, *help;
    int (*run)(const struct verb *verb, int argc, char **argv);
};
static const struct verb verbs[];
static const struct opt *options_of(const struct verb *verb);

static int usage(const struct verb *verb, const char *error)
{
    warn("%s: %s (see `vmlet help %s`)", verb->name, error, verb->name);
    return STATUS_SETUP;
}

/* `--device help` and `--device CLASS,help`: true when that was asked for and answered. */
static bool device_help(const struct machine_options *o)
{
    for (size_t i = 0; i < o->devices.n; i++) {
        const char *rest, *first = opts_first(o->devices.v[i], &rest);
        const struct device_class *class = device_class_find(device_classes, first);
        if (!strcmp(first, "help"))
            device_class_print(device_classes, stdout);
        else if (class && !strcmp(rest, "help"))
            device_class_help(class, stdout);
        else
            continue;
        return true;
    }
    return false;
}

/* A sentence where a class is a slip for another one's name, else NULL: what else is wrong, who makes the device says. */
static const char *device_slip(const struct machine_options *o)
{
    for (size_t i = 0; i < o->devices.n; i++) {
        const char *first = opts_first(o->devices.v[i], NULL);
        const struct device_class *const *c = device_classes;
        for (c = device_class_find(c, first) ? NULL : c; c && *c; c++)
            if (!(*c)->internal && opts_slip(first, (*c)->name))
                return opts_say("--device %s: no such device (did you mean %s?)", first, (*c)->name);
    }
    return NULL;
}

/* `-n help` */
static bool network_help(const struct machine_options *o)
{
    for (size_t i = 0; i < o->networks.n; i++)
        if (!strcmp(o->networks.v[i], "help")) {
            opts_sub_help(stdout, net_option_table);
            return true;
        }
    return false;
}

static int print_help(const struct verb *verb)
{
    printf("usage: vmlet %s%s%s\n%s\n", verb->name, *verb->args ? " " : "", verb->args, verb->help);
    if (options_of(verb)) {
        putchar('\n');
        opts_help(stdout, options_of(verb));
    }
    return 0;
}

static int verb_run(const struct verb *verb, int argc, char **argv)
{
    struct machine_options options;
    machine_options_init(&options);
    const char *error = machine_options_parse(argc, argv, &options);
    if (error)
        return usage(verb, error);
    if (device_help(&options) || network_help(&options))
        return 0;
    if ((error = device_slip(&options)))
        return usage(verb, error);
    log_set_level((enum log_level)options.loglevel);
    if (options.probe_sweep)
        return sweep_run(&options, argc, argv);
    if (options.repeat || options.until_fail)
        return repeat_run(&options, argc, argv);
    return machine_run(&options);
}

static int verb_batch(const struct verb *verb, int argc, char **argv)
{
    const char *error;
    int status = batch_run(argc, argv, &error);
    return error ? usage(verb, error) : status;
}

/* lkvm's: a command with the host's root, of which the guest sees a copy that it may change. */
static int verb_sandbox(const struct verb *verb, int argc, char **argv)
{
    char **words = calloc((size_t)argc + 3, sizeof *words);
    static char share[] = "--share", root[] = "/";
    if (!words)
        return usage(verb, "out of memory");
    words[0] = share;
    words[1] = root;
    memcpy(words + 2, argv, (size_t)argc * sizeof *words);
    return verb_run(verb, argc + 2, words);
}

static int verb_setup(const struct verb *verb, int argc, char **argv)
{
    if (argc > 1)
        return usage(verb, "takes one name");
    const char *error = rootfs_setup(argc ? argv[0] : "default", stdout);
    if (error)
        warn("%s", error);
    return error != NULL;
}

static int verb_list(const struct verb *verb, int argc, char **argv)
{
    if (argc && strcmp(argv[0], "-i") && strcmp(argv[0], "--run")) /* lkvm's words for the guests that run */
        return usage(verb, "takes no arguments");
    const char *error = list_print(stdout, isatty(STDOUT_FILENO));
    if (error)
        warn("%s", error);
    return error != NULL;
}

/* Sends the verb and the words after the guest's name. */
static int send(const struct verb *verb, const char *name, int argc, char **argv)
{
    const char *words[CTL_WORDS] = {verb->name};
    if (argc > CTL_WORDS - 1)
        return usage(verb, "too many words");
    for (int i = 0; i < argc; i++)
        words[1 + i] = argv[i];
    const char *error = ctl_call(name, 1 + argc, words, stdout);
    if (error)
        warn("%s", error);
    return error != NULL;
}

struct everybody {
    const struct verb *verb;
    int argc;
    char **argv;
    int status;
};

static void send_each(void *arg, const char *name, pid_t pid)
{
    struct everybody *all = arg;
    (void)pid;
    if (all->argc || !strcmp(all->verb->name, "stat") || !strcmp(all->verb->name, "debug"))
        printf("%s:\n", name);
    all->status |= send(all->verb, name, all->argc, all->argv);
}

/* The first of the words that is one of the two, or argc. */
static int find_word(int argc, char **argv, const char *a, const char *b)
{
    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], a) || !strcmp(argv[i], b))
            return i;
    return argc;
}

/* To the guest named by the first word (or by lkvm's -n, wherever it stands), or to all of them (lkvm's -a). */
static int verb_send(const struct verb *verb, int argc, char **argv)
{
    if (argc && find_word(argc, argv, "-a", "--all") == 0) {
        struct everybody all = {verb, argc - 1, argv + 1, 0};
        const char *error = ctl_list(send_each, &all);
        if (error)
            warn("%s", error);
        return all.status | (error != NULL);
    }
    int at = find_word(argc, argv, "-n", "--name"), taken = at < argc ? 2 : 1;
    if (at == argc) /* the first word that may be a name: `stop --now NAME` as well */
        for (at = 0; at < argc && !strncmp(argv[at], "--", 2);)
            at++;
    if (argc < at + taken)
        return usage(verb, "which guest? (`vmlet list` names them)");
    const char *name = argv[at + taken - 1];
    memmove(argv + at, argv + at + taken, (size_t)(argc - at - taken) * sizeof *argv);
    return send(verb, name, argc - taken, argv);
}

static int verb_trace_diff(const struct verb *verb, int argc, char **argv)
{
    if (argc != 2) {
        usage(verb, "takes the names of two traces");
        return TRACE_DIFF_TROUBLE;
    }
    return trace_diff(argv[0], argv[1], stdout);
}

static int verb_version(const struct verb *verb, int argc, char **argv)
{
    (void)verb, (void)argc, (void)argv;
    puts("vmlet " VERSION);
    return 0;
}

/* The table of a verb that has options, or NULL. */
static const struct opt *options_of(const struct verb *verb)
{
    return verb->run == verb_run ? machine_option_table : verb->run == verb_batch ? batch_option_table : NULL;
}

static const struct verb *verb_find(const char *name)
{
    for (const struct verb *v = verbs; v->name; v++)
        if (!strcmp(v->name, name))
            return v;
    return NULL;
}

/* " (did you mean `run`?)" */
static const char *verb_near(const char *name)
{
    for (const struct verb *v = verbs; v->name; v++)
        if (opts_slip(name, v->name))
            return opts_say(" (did you mean `%s`?)", v->name);
    return " (see `vmlet help`)";
}

static void help(FILE *out)
{
    fprintf(out, "vmlet " VERSION ": a minimal virtual machine monitor for Linux guests on KVM\n\n"
                 "usage: vmlet VERB ...\n\n");
    for (const struct verb *v = verbs; v->name; v++)
        opts_help_text(out, fprintf(out, "  %s%s%s", v->name, *v->args ? " " : "", v->args), v->help);
    fprintf(out, "\n`vmlet help VERB` says more.\n");
}

/* What a run's exit status means (guest/result.h), in the words of the help. */
static const struct {
    const char *status, *when;
} statuses[] = {
    {"the guest's",
     "what the command or an exit port reported: 128 + n for signal n, 126 and 127 as in a shell"},
    {"0",                                                "power-off or reboot, and no command was given"},
    {"123","the guest died or ended without the status that it owed, or the gate caught something"},
    {"124",                                            "the time was up"},
    {"125",                                                "vmlet could not start or go on; one line says why"},
    {"by signal","SIGINT, SIGTERM and SIGHUP: it cleans up and dies of it"},
    {0                                           },
};

/* `vmlet help man`: the manual page, from the same tables as all help. */
static void man(FILE *out)
{
    fputs(".TH VMLET 1 \"\" \"vmlet " VERSION
          "\"\n.SH NAME\nvmlet \\- boot Linux guests on KVM\n.SH SYNOPSIS\n",
          out);
    for (const struct verb *v = verbs; v->name; v++) {
        fprintf(out, "%s.B vmlet %s\n", v == verbs ? "" : ".br\n", v->name);
        opts_man_text(out, v->args);
        fputs(*v->args ? "\n" : "", out);
    }
    fputs(".SH VERBS\n", out);
    for (const struct verb *v = verbs; v->name; v++) {
        fprintf(out, ".TP\n.B %s\n", v->name);
        opts_man_text(out, v->help);
        fputc('\n', out);
    }
    for (const struct verb *v = verbs; v->name; v++) {
        if (!options_of(v))
            continue;
        fputs(".SH OPTIONS OF ", out);
        for (const char *p = v->name; *p; p++)
            fputc(toupper((unsigned char)*p), out);
        fputc('\n', out);
        opts_man(out, options_of(v));
    }
    fputs(".SH EXIT STATUS OF RUN\n", out);
    for (size_t i = 0; statuses[i].status; i++) {
        fputs(".TP\n.B ", out);
        opts_man_text(out, statuses[i].status);
        fputc('\n', out);
        opts_man_text(out, statuses[i].when);
        fputc('\n', out);
    }
    fputs(".SH FILES\n.TP\n.I $XDG_RUNTIME_DIR/vmlet/NAME.sock\n"
          "the control socket of a guest; without that variable /tmp/vmlet\\-UID/NAME.sock\n",
          out);
}

/* The words that may stand in place of a verb's argument list: all in small letters, at its beginning or behind a bar or NAME. */
static void plain_words(FILE *out, const char *args)
{
    const char *before = "|";
    for (size_t len; *args; args += len) {
        args += strspn(args, " [");
        len = strcspn(args, " ");
        size_t small = strspn(args, "abcdefghijklmnopqrstuvwxyz-|");
        if (len && small == len && len > 1 && (*before == '|' || !strncmp(before, "NAME", 4)))
            for (size_t k = 0; k < len; k++)
                fputc(args[k] == '|' ? ' ' : args[k], out);
        if (len)
            fputc(' ', out);
        before = args;
    }
}

/* `vmlet help completion`: for bash, to be sourced. */
static void completion(FILE *out)
{
    fputs("_vmlet() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= verbs='",
          out);
    for (const struct verb *v = verbs; v->name; v++)
        fprintf(out, "%s ", v->name);
    fputs(
        "'\n    case \" ${COMP_WORDS[*]:1:COMP_CWORD-1} \" in *' -- '*) return ;; esac # the guest's words\n"
        "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=$verbs\n",
        out);
    for (const struct verb *v = verbs; v->name; v++) {
        if (!options_of(v) || v->run == verb_sandbox)
            continue;
        fprintf(out, "    elif [ \"${COMP_WORDS[1]}\" = %s ]%s; then\n", v->name,
                v->run == verb_run ? " || [ \"${COMP_WORDS[1]}\" = sandbox ]" : "");
        opts_completion(out, options_of(v));
        if (v->run != verb_run)
            continue;
        fputs("        case $prev in\n        --device) words='help ", out);
        for (const struct device_class *const *c = device_classes; *c; c++)
            if (!(*c)->internal)
                fprintf(out, "%s ", (*c)->name);
        fputs("' ;;\n        --disk | -d) words=$(cd \"${XDG_DATA_HOME:-$HOME/.local/share}/vmlet\" "
              "2>/dev/null && echo *) ;;\n"
              "        esac\n",
              out);
    }
    fputs("    elif [ \"${COMP_WORDS[1]}\" = help ]; then\n        words=\"$verbs man completion\"\n", out);
    fputs("    elif [ \"$COMP_CWORD\" = 2 ]; then\n"
          "        case ${COMP_WORDS[1]} in setup | list | version | trace-diff) ;;\n"
          "        *) words=$(vmlet list 2>/dev/null | cut -d' ' -f1) ;;\n        esac\n"
          "    elif [ \"$COMP_CWORD\" = 3 ]; then\n        case ${COMP_WORDS[1]} in\n",
          out);
    for (const struct verb *v = verbs; v->name; v++)
        if (v->run == verb_send) {
            fprintf(out, "        %s) words='", v->name);
            plain_words(out, v->args);
            fputs("' ;;\n", out);
        }
    fputs("        esac\n"
          "    fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "}\n"
          "complete -o default -F _vmlet vmlet\n",
          out);
}

static int verb_help(const struct verb *verb, int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } whole[] = {
        {"man",       man},
        {"completion",           completion},
        {0}
    };
    (void)verb;
    if (!argc) {
        help(stdout);
        return 0;
    }
    for (size_t i = 0; whole[i].name; i++)
        if (!strcmp(argv[0], whole[i].name)) {
            whole[i].print(stdout);
            return 0;
        }
    const struct verb *v = verb_find(argv[0]);
    if (!v) {
        warn("help: there is no verb `%s`%s", argv[0], verb_near(argv[0]));
        return STATUS_SETUP;
    }
    return print_help(v);
}

static const struct verb verbs[] = {
  /* one line a verb, none moves for another */
  /* clang-format off */
    {"run", "[options] [KERNEL] [-- COMMAND [ARG...]]", "boot a guest", verb_run},
    {"batch", "[options] FILE", "many boots: FILE (-: standard input) has a run command a line, each is a process of its own (0: all passed, 1: some failed)", verb_batch},
    {"sandbox", "[options of run] [KERNEL] [-- COMMAND [ARG...]]", "run a command of the host's in a guest that has the host's root; what it writes there stays in the guest's memory (--share /)", verb_sandbox},
    {"setup", "[NAME]", "make a root folder for guests (`run -d NAME`), with busybox in it", verb_setup},
    {"list", "", "the guests that run: name, process, time, processor time, memory", verb_list},
    {"info", "NAME mtree [-f] | qtree | pci [-x] [ID] | regs ID | irq | stats [ID] | net", "look into a guest: memory map, devices, registers, interrupts, drops, network", verb_send},
    {"link", "NAME CARD up|down", "pull a network cable, or plug it in", verb_send},
    {"forward", "NAME add|remove RULE [CARD]", "a way into the guest's user network", verb_send},
    {"pause", "NAME | -a", "make a guest's CPUs stand still", verb_send},
    {"resume", "NAME | -a", "let them go on again", verb_send},
    {"debug", "NAME | -a [--dump | --nmi [CPU] | --sysrq CHAR]", "registers and code of each CPU; an NMI; a SysRq key", verb_send},
    {"stat", "NAME | -a [-m]", "a guest's times, exits and memory", verb_send},
    {"balloon", "NAME [+MIB | -MIB | MIB | -i MIB | -d MIB]", "take memory from a guest (+), give it back (-), say how much", verb_send},
    {"stop", "NAME | -a [--now]", "end a guest: its command gets SIGTERM (a kernel of your own: the power button) and 10 s; --now: at once", verb_send},
    {"trace-diff", "A B", "where two traces diverge (0: nowhere, 1: it is printed, 2: trouble)", verb_trace_diff},
    {"version", "", "which vmlet this is", verb_version},
    {"help", "[VERB | man | completion]", "this list, what a verb takes, the manual page, completion for bash", verb_help},
    {0},
  /* clang-format on */
};

int main(int argc, char **argv)
{
    stream_reserve_standard();
    if (argc < 2) {
        help(stderr);
        return STATUS_SETUP;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    const struct verb *v = verb_find(name);
    if (!v) {
        warn("%s: no such verb%s", name, verb_near(name));
        return STATUS_SETUP;
    }
    if (v->run == verb_run || v->run == verb_batch || v->run == verb_sandbox)
        signals_block(); /* the others have no loop that would take a signal: it just ends them */
    else
        signal(SIGPIPE, SIG_IGN);
    int end = find_word(argc, argv, "--", "--"); /* what follows is the guest's */
    int status = find_word(end, argv, "--help", "-h") > 1 && find_word(end, argv, "--help", "-h") < end
                     ? print_help(v)
                     : v->run(v, argc - 2, argv + 2);
    if (fflush(stdout) == EOF && status == 0) {
        warn("standard output: cannot be written");
        status = STATUS_SETUP;
    }
    return status;
}
