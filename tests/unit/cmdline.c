// SPDX-License-Identifier: MIT
/* The kernel's command line that follows from the options. */
#include "guest/gate.h"
#include "guest/machine.h"
#include "test.h"

#define EARLY "earlycon=uart8250,mmio,0xfedf0000 keep_bootcon"

static const char *line(struct machine_options o)
{
    return machine_cmdline(&o);
}

TEST(cmdline_defaults_and_words_added)
{
    CHECK_STR(line((struct machine_options){0}), "console=ttyS0 panic=-1");
    CHECK_STR(line((struct machine_options){.params = "quiet a=b"}), "console=ttyS0 panic=-1 quiet a=b");
    CHECK_STR(line((struct machine_options){.params = "quiet", .console = CONSOLE_NONE}), "panic=-1 quiet");
    CHECK_STR(line((struct machine_options){.params = "quiet", .nodefaults = true}), "quiet");
    CHECK_STR(line((struct machine_options){.nodefaults = true}), "");
}

/* Its words are read in order, and the early console prints what it missed as soon as its own is read. */
TEST(cmdline_of_a_command_ends_with_the_early_console)
{
    static char true_[] = "true", *command[] = {true_, NULL};
    struct machine_options o = {.command = command};
    CHECK_STR(line(o), "panic=-1 loglevel=5 " EARLY);
    o.fail_on = 1u << KLOG_TAINT; /* a notice, where a module has no signature */
    CHECK_STR(line(o), "panic=-1 " EARLY);
    o.fail_on = 1u << KLOG_WARN;
    o.params = "quiet";
    CHECK_STR(line(o), "panic=-1 loglevel=5 quiet " EARLY);
    o.kernel_log = "k.log";
    CHECK_STR(line(o), "panic=-1 quiet " EARLY);
    o.console = CONSOLE_NONE;
    CHECK_STR(line(o), "panic=-1 quiet");
}

TEST(cmdline_leaves_the_users_consoles_and_inits_words_alone)
{
    static char true_[] = "true", *command[] = {true_, NULL};
    static const char *const params[] = {"console=ttyS0", "earlycon", "x -- y"};
    for (unsigned i = 0; i < 3; i++) {
        char want[64];
        snprintf(want, sizeof want, "console=ttyS0 panic=-1 loglevel=5 %s", params[i]);
        CHECK_STR(line((struct machine_options){.command = command, .params = params[i]}), want);
    }
}

/* The early console goes when hvc0 comes; with a log of its own COM1 stays a console. */
TEST(cmdline_of_a_virtio_console)
{
    static char true_[] = "true", *command[] = {true_, NULL};
    struct machine_options o = {.console = CONSOLE_VIRTIO, .params = "quiet"};
    CHECK_STR(line(o), "console=hvc0 panic=-1 quiet earlycon=uart8250,mmio,0xfedf0000");
    o.kernel_log = "k.log";
    CHECK_STR(line(o), "console=ttyS0 console=hvc0 panic=-1 quiet");
    o.command = command;
    CHECK_STR(line(o), "console=hvc0 panic=-1 quiet earlycon=uart8250,mmio,0xfedf0000");
    o.params = "earlycon";
    CHECK_STR(line(o), "console=hvc0 panic=-1 earlycon");
}
