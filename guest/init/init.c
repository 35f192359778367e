// SPDX-License-Identifier: MIT
/* The first process of a guest that vmlet made the initramfs for: sets the system up, loads modules, runs one
 * command and tells how it ended, over COM2 (include/guest/init_proto.h). Without a command it gives a shell
 * on the console and powers off when that ends. Run as any other process, `init --test FD FILE` serves the
 * command file FILE on the descriptor FD and touches nothing else of the system: so the unit tests try the
 * very binary that boots; and `init --test-net` sets up the network of the namespace that it is in. */
#include "sys.h"

static struct child child;
static struct command cmd;

/* Through the kernel's log, which reaches every console that there is: the early one is no device to open. */
static void say(const char *a, const char *b, const char *c)
{
    char text[600];
    size_t n = text_join(text, sizeof text, "<3>vmlet init: ", a, b, c, "\n", NULL), skip = 0;
    long fd = SYS(open, "/dev/kmsg", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        fd = SYS(open, "/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
        skip = 3; /* the log's level */
    }
    SYS(write, fd < 0 ? 2 : fd, text + skip, n - skip);
    if (fd >= 0)
        SYS(close, fd);
}

/* To who finds less than expected. */
static void greet(void)
{
    static const char text[] =
        "vmlet: a shell in the initramfs (`vmlet run --share /` has the host's own programs)\n";
    long fd = SYS(open, "/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    SYS(write, fd, text, sizeof text - 1);
    SYS(close, fd);
}

static bool start(char *text, size_t size, int *value)
{
    static char *const install[] = {"busybox", "--install", "-s", NULL};
    *value = load_modules(&cmd, text, size);
    if (*value)
        return false;
    *value = 125;
    if (SYS(getpid) == 1 && !share_start(&cmd, text, size))
        return false;
    if (SYS(getpid) == 1)
        net_start(&cmd);
    if (cmd.flags & COMMAND_BUSYBOX_INSTALL)
        child_run("/bin/busybox", install, cmd.envp);
    if (cmd.argc) {
        *value = child_start(&child, &cmd, text, size);
        return !*value;
    }
    if (SYS(getpid) == 1 && !share_has_root(&cmd) && !root_start(cmd.envp, text, size))
        return false;
    static char name[64], *shell[] = {name, NULL};
    struct command console = cmd;
    if (SYS(getpid) == 1 && !cmd.shares)
        greet();
    console.argv = shell;
    console.argc = 1;
    if (!*cmd.program)
        console.program = "/bin/sh";
    text_join(name, sizeof name, "-", last_part(console.program), NULL); /* a login shell */
    *value = child_start_console(&child, &console, text, size);
    return !*value;
}

/* Descriptors 0, 1 and 2 are open, even where the kernel has no console, so that none of ours takes their
 * place. */
static void hold_standard_streams(void)
{
    long fd;
    do
        fd = SYS(open, "/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        SYS(close, fd);
}

static void serve(int line_fd, const char *file)
{
    struct frame_hello hello = {INIT_PROTO_VERSION, 0};
    char text[400] = "";
    const char *why;
    int value = 125;

    line_open(line_fd);
    line_control(FRAME_HELLO, &hello, sizeof hello);
    pump_signals();
    if (!command_read(file, &cmd, &why)) {
        text_join(text, sizeof text, file, ": ", why, NULL);
        cmd.argc = 1; /* a status is owed */
    } else {
        if (SYS(getpid) == 1)
            setup_hostname(cmd.hostname);
        if (start(text, sizeof text, &value)) {
            pump_run(line_fd, &child, &cmd);
            return;
        }
        if (!cmd.argc) {
            say(text, "", "");
            line_log(text);
            setup_end(END_HALT); /* no success: vmlet says 123 */
        }
    }
    pump_failed(line_fd, &child, &cmd, (uint32_t)value, text);
}

/* No line to vmlet: the user sees why on the console, and no status is told. */
static _Noreturn void serve_nobody(const char *why)
{
    say("COM2 (ttyS1): ", why,
        ": vmlet cannot be told anything (8250.nr_uarts=2 or more, or a kernel with a serial driver)");
    setup_end(END_POWER_OFF);
}

int init_main(int argc, char **argv, char **envp)
{
    (void)envp;
    if (SYS(getpid) != 1) {
        int fd = 0;
        if (argc == 2 && !memcmp(argv[1], "--test-net", 11)) {
            cmd = (struct command){.flags = COMMAND_DHCP, .hostname = HOSTNAME_DEFAULT};
            net_start(&cmd);
            return 0;
        }
        if (argc != 4 || memcmp(argv[1], "--test", 7)) {
            static const char text[] = "init of a vmlet guest: to be run as process 1 there\n";
            SYS(write, 2, text, sizeof text - 1);
            return 125;
        }
        for (const char *p = argv[2]; *p >= '0' && *p <= '9'; p++)
            fd = fd * 10 + (*p - '0');
        SYS(fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
        SYS(fcntl, fd, F_SETFD, FD_CLOEXEC);
        serve(fd, argv[3]);
        return 0;
    }
    const char *why = "";
    setup_system();
    hold_standard_streams();
    int fd = setup_line(&why);
    if (fd < 0)
        serve_nobody(why);
    serve(fd, COMMAND_FILE);
    setup_end(END_POWER_OFF);
}
