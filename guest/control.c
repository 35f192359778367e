// SPDX-License-Identifier: MIT
/* The answers on the control socket: see include/guest/control.h. One line of the table each. */
#include "guest/control.h"

#include "guest/balloon.h"
#include "guest/debug_verbs.h"
#include "guest/hold.h"
#include "guest/info.h"
#include "guest/network.h"
#include "kvm/host/ctl.h"
#include "mem/mtree.h"
#include "mem/region.h"
#include "mem/slots.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct control {
    struct ctl *ctl;
};

static const char no_words[] = "takes no further words";

static const char *do_mtree(void *arg, int argc, char **argv, FILE *out)
{
    if (argc > 1 || (argc && strcmp(argv[0], "-f")))
        return "info mtree takes -f or nothing";
    topology_take();
    if (argc)
        mtree_print_flat(out, slots_note, machine_slots(arg));
    else
        mtree_print(out);
    topology_drop();
    return NULL;
}

static const char *do_qtree(void *arg, int argc, char **argv, FILE *out)
{
    return info_qtree(machine_board(arg), argc, argv, out);
}

static const char *do_pci(void *arg, int argc, char **argv, FILE *out)
{
    return info_pci(machine_board(arg), argc, argv, out);
}

static const char *do_regs(void *arg, int argc, char **argv, FILE *out)
{
    return info_regs(machine_board(arg), argc, argv, out);
}

static const char *do_irq(void *arg, int argc, char **argv, FILE *out)
{
    return info_irq(machine_board(arg), argc, argv, out);
}

static const char *do_stats(void *arg, int argc, char **argv, FILE *out)
{
    return info_stats(machine_board(arg), argc, argv, out);
}

static const char *do_debug(void *arg, int argc, char **argv, FILE *out)
{
    return debug_verb(arg, argc, argv, out);
}

static const char *do_stat(void *arg, int argc, char **argv, FILE *out)
{
    return stat_verb(arg, argc, argv, out);
}

static const char *do_balloon(void *arg, int argc, char **argv, FILE *out)
{
    return balloon_verb(arg, argc, argv, out);
}

static const char *do_pause(void *arg, int argc, char **argv, FILE *out)
{
    (void)argv, (void)out;
    if (argc)
        return no_words;
    return hold_take(machine_hold(arg), HOLD_USER) ? NULL : "it is paused already";
}

static const char *do_resume(void *arg, int argc, char **argv, FILE *out)
{
    (void)argv, (void)out;
    if (argc)
        return no_words;
    struct hold *h = machine_hold(arg);
    if (!hold_release(h, HOLD_USER))
        return h->by & HOLD_GDB ? "it is gdb that holds it" : "it is not paused";
    return NULL;
}

static const char *do_stop(void *arg, int argc, char **argv, FILE *out)
{
    (void)out;
    if (argc > 1 || (argc && strcmp(argv[0], "--now")))
        return "stop takes --now or nothing";
    if (argc)
        machine_stop(arg, "vmlet stop --now");
    else
        machine_ask_to_stop(arg);
    return NULL;
}

static const char *do_net(void *arg, int argc, char **argv, FILE *out)
{
    (void)argv;
    if (argc)
        return no_words;
    network_print(machine_network(arg), out);
    return NULL;
}

static const char *do_link(void *arg, int argc, char **argv, FILE *out)
{
    (void)out;
    if (argc != 2)
        return "link takes a card and up or down: link net0 down";
    return network_link(machine_network(arg), argv[0], argv[1]);
}

static const char *do_forward(void *arg, int argc, char **argv, FILE *out)
{
    (void)out;
    bool add = argc && !strcmp(argv[0], "add");
    if (argc < 2 || argc > 3 || (!add && strcmp(argv[0], "remove")))
        return "forward takes add or remove, PROTO:[ADDR]:PORT-[ADDR]:PORT, and a card where there are "
               "several";
    return network_forward(machine_network(arg), add, argv[1], argc > 2 ? argv[2] : NULL);
}

/* Each verb a line that none other moves. */
static const struct {
    const char *command, *help;
    ctl_fn *fn;
} answers[] = {
  /* one line a verb, none moves for another */
  /* clang-format off */
    {"info mtree", "[-f]: the memory map as a tree, or flat",                   do_mtree  },
    {"info qtree", "the devices as a tree, with their options",                 do_qtree  },
    {"info pci",   "[-x] [ID]: configuration space decoded, -x: and its bytes", do_pci    },
    {"info regs",  "ID: a device's registers by name",                          do_regs   },
    {"info irq",   "lines and vectors, with counts",                            do_irq    },
    {"info stats", "[ID]: what was discarded and refused, by name", do_stats },
    {"info net",   "cards, what they are plugged into, and what passed",        do_net    },
    {"link",       "CARD up|down: pull a cable, or plug it in",                 do_link   },
    {"forward",    "add|remove RULE [CARD]: a way into the user network",       do_forward},
    {"debug",      "[--dump | --nmi [CPU] | --sysrq CHAR]: look at the CPUs, or prod them", do_debug },
    {"stat",       "[-m]: times, exits, memory",                                do_stat   },
    {"balloon",    "[+MIB | -MIB | MIB]: memory from the guest, or back to it",  do_balloon },
    {"pause",      "the CPUs stand still",                                      do_pause  },
    {"resume",     "the CPUs go on",                                            do_resume },
    {"stop",       "[--now]: the guest is asked to end, and ended after 10 s; or at once",                                            do_stop   },
  /* clang-format on */
};

struct control *control_new(struct machine *m, struct loop *loop, const char *name, char *err,
                            size_t err_size)
{
    struct control *c = calloc(1, sizeof *c);
    char own[32];
    const char *error = "control socket: out of memory";
    snprintf(own, sizeof own, "guest-%ld", (long)getpid());
    if (c)
        c->ctl = ctl_new(loop, name ? name : own, &error);
    if (!c || !c->ctl) {
        snprintf(err, err_size, "%s", error);
        free(c);
        return NULL;
    }
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        ctl_add(c->ctl, answers[i].command, answers[i].help, answers[i].fn, m);
    return c;
}

const char *control_command(struct control *c, char *line, FILE *out)
{
    return ctl_command(c->ctl, line, out);
}

void control_free(struct control *c)
{
    ctl_free(c->ctl);
    free(c);
}
