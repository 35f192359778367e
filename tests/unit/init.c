// SPDX-License-Identifier: MIT
/* The very init that boots, run as an ordinary process (`--test`), with a socket pair for COM2 and channel.c
 * as the other end: so both sides of the protocol are tried against each other. */
#include "test.h"

#include "guest/channel.h"
#include "guest/command_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEEP = 256 * 1024
};

struct run {
    struct channel *ch;
    int fd;
    pid_t pid;
    bool hello, done;
    struct channel_status status;
    uint64_t bytes[2], sum[2]; /* all output: count and a checksum that depends on order */
    char text[2][KEEP];        /* its first bytes */
    char message[512];
    const char *input;
    uint64_t input_size, input_at; /* input NULL: input_size bytes of a pattern */
    bool input_end, input_ended;
    bool full[2];   /* takes no output */
    size_t offered; /* the last time when it took none */
    bool closed[2]; /* EPIPE */
};

static size_t on_output(void *ctx, enum channel_stream s, const void *bytes, size_t n)
{
    struct run *r = ctx;
    const uint8_t *p = bytes;
    if (r->full[s]) {
        r->offered = n;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (r->bytes[s] < KEEP - 1)
            r->text[s][r->bytes[s]] = (char)p[i];
        r->sum[s] = (r->sum[s] ^ p[i]) * 0x100000001b3ull;
        r->bytes[s]++;
    }
    return n;
}

static void on_hello(void *ctx)
{
    ((struct run *)ctx)->hello = true;
}

static void on_status(void *ctx, const struct channel_status *status)
{
    struct run *r = ctx;
    r->status = *status;
    r->done = true;
}

static void on_message(void *ctx, const char *text)
{
    struct run *r = ctx;
    snprintf(r->message, sizeof r->message, "%s", text);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static const struct channel_ops ops = {on_output, on_hello, on_status, on_message, on_nothing, on_nothing};

static int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("test", 0);
    return write(fd, bytes, n) == (ssize_t)n ? fd : -1;
}

#define ARGV(...) ((char *const *)(const char *const[]){__VA_ARGS__, NULL})

#define some_env ARGV("PATH=/usr/bin:/bin", "ODD=a=b\n\x01\xff")

static struct run *run_start(const struct command_file *f, bool damaged)
{
    static struct run r;
    size_t size;
    int pair[2];
    char fd_text[16], path[64];
    r = (struct run){0};
    uint8_t *bytes = command_file_make(f, &size);
    if (damaged)
        bytes[size - 1] ^= 1;
    int file = memory_file(bytes, size), init = memory_file(init_blob, (size_t)(init_blob_end - init_blob));
    free(bytes);
    r.ch = channel_new(&ops, &r);
    if (file < 0 || init < 0 || !r.ch || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        abort();
    r.fd = pair[0];
    snprintf(fd_text, sizeof fd_text, "%d", pair[1]);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    r.pid = fork();
    if (r.pid == 0) {
        close(pair[0]);
        fexecve(init, ARGV("init", "--test", fd_text, path), environ);
        _exit(99);
    }
    close(pair[1]);
    close(file);
    close(init);
    return &r;
}

static struct run *run_command(char *const *argv)
{
    return run_start(&(struct command_file){.argv = argv, .envp = some_env, .folder = "/"}, false);
}

static void feed(struct run *r)
{
    char part[4096];
    while (r->input_at < r->input_size && channel_stdin_room(r->ch)) {
        size_t n = r->input_size - r->input_at < sizeof part ? r->input_size - r->input_at : sizeof part;
        if (r->input)
            memcpy(part, r->input + r->input_at, n);
        else
            for (size_t i = 0; i < n; i++)
                part[i] = (char)((r->input_at + i) * 7 + ((r->input_at + i) >> 11));
        r->input_at += channel_stdin(r->ch, part, n);
    }
    if (r->input_end && r->input_at == r->input_size && !r->input_ended) {
        r->input_ended = true;
        channel_stdin_end(r->ch);
    }
}

/* One turn of the host's loop; false when init has closed the line or nothing came for ms. */
static bool run_step(struct run *r, int ms)
{
    uint8_t bytes[8192];
    feed(r);
    size_t n = channel_tx(r->ch, bytes, sizeof bytes);
    for (size_t at = 0; at < n;) {
        ssize_t done = send(r->fd, bytes + at, n - at, MSG_NOSIGNAL);
        if (done <= 0)
            break; /* init ended; what it had sent is still to be read */
        at += (size_t)done;
    }
    if (channel_tx_pending(r->ch))
        ms = 0;
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return ms == 0;
    size_t room = channel_room(r->ch);
    ssize_t got = recv(r->fd, bytes, room < sizeof bytes ? room : sizeof bytes, 0);
    if (got < 0 && errno == ECONNRESET) /* said once when it left input unread */
        return true;
    if (got <= 0)
        return false;
    return channel_rx(r->ch, bytes, (size_t)got) == (size_t)got;
}

/* Until init is gone. Returns the status that `run` would end with. */
static unsigned run_end(struct run *r)
{
    int status;
    while (run_step(r, 20000))
        ;
    close(r->fd);
    kill(r->pid, SIGKILL);
    waitpid(r->pid, &status, 0);
    bool damaged = channel_damaged(r->ch);
    channel_free(r->ch);
    for (int s = 0; s < 2; s++)
        r->text[s][r->bytes[s] < KEEP - 1 ? r->bytes[s] : KEEP - 1] = 0;
    return !r->hello || !r->done || damaged ? 1000 : r->status.status;
}

static unsigned sh(const char *script, struct run **r)
{
    *r = run_command(ARGV("sh", "-c", script));
    (*r)->input_end = true;
    return run_end(*r);
}

TEST(init_exit_codes)
{
    struct run *r;
    CHECK_EQ(sh("exit 0", &r), 0);
    CHECK_EQ(sh("exit 7", &r), 7);
    CHECK_EQ(r->status.reason, CHANNEL_EXITED);
    CHECK_EQ(sh("exit 255", &r), 255);
}

TEST(init_killed_command)
{
    struct run *r;
    CHECK_EQ(sh("kill -9 $$", &r), 137);
    CHECK_EQ(r->status.reason, CHANNEL_SIGNALED);
    CHECK_EQ(r->status.value, 9);
    CHECK_EQ(sh("ulimit -c 0; kill -SEGV $$", &r), 139);
}

TEST(init_stdout_and_stderr_apart)
{
    struct run *r;
    CHECK_EQ(sh("echo out; echo err >&2; echo out2", &r), 0);
    CHECK_STR(r->text[0], "out\nout2\n");
    CHECK_STR(r->text[1], "err\n");
}

TEST(init_arguments_byte_for_byte)
{
    char odd[256], *big = malloc(100001);
    for (int i = 0; i < 255; i++)
        odd[i] = (char)(i + 1);
    odd[255] = 0;
    memset(big, 'x', 100000);
    big[100000] = 0;
    struct run *r = run_command(ARGV("printf", "%s|%s|%s|", odd, "", big));
    CHECK_EQ(run_end(r), 0);
    CHECK_EQ(r->bytes[0], 255 + 1 + 1 + 100000 + 1);
    CHECK(!memcmp(r->text[0], odd, 255));
    CHECK(!memcmp(r->text[0] + 257, big, 100000));
    free(big);
}

TEST(init_argument_too_long)
{
    char *big = malloc(200001); /* the kernel's own limit is 128 KiB for one */
    memset(big, 'x', 200000);
    big[200000] = 0;
    struct run *r = run_command(ARGV("true", big));
    CHECK_EQ(run_end(r), 126);
    CHECK(strstr(r->status.text, "Argument list too long"));
    free(big);
}

TEST(init_environment_and_folder)
{
    struct run *r = run_start(&(struct command_file){.argv = ARGV("sh", "-c", "pwd; env | grep -a -A9 ODD"),
                                                     .envp = some_env,
                                                     .folder = "/proc"},
                              false);
    CHECK_EQ(run_end(r), 0);
    CHECK(!strncmp(r->text[0], "/proc\n", 6));
    CHECK(strstr(r->text[0], "ODD=a=b\n\x01\xff\n"));
}

TEST(init_not_found_is_127)
{
    struct run *r = run_command(ARGV("no-such-command"));
    CHECK_EQ(run_end(r), 127);
    CHECK_EQ(r->status.reason, CHANNEL_FAILED);
    CHECK(strstr(r->status.text, "no-such-command: not found"));
    r = run_command(ARGV("/no/such"));
    CHECK_EQ(run_end(r), 127);
}

TEST(init_not_executable_is_126)
{
    struct run *r = run_command(ARGV("/etc/passwd"));
    CHECK_EQ(run_end(r), 126);
    CHECK_STR(r->status.text, "/etc/passwd: Permission denied");
}

static unsigned run_bytes(const char *bytes, size_t n, struct run **r)
{
    char path[] = "/tmp/vmlet-test-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || fchmod(fd, 0755))
        abort();
    close(fd);
    *r = run_command(ARGV(path, "one"));
    unsigned status = run_end(*r);
    unlink(path);
    return status;
}

TEST(init_other_architecture_is_126)
{
    static const char arm[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = (char)183, [20] = 1};
    struct run *r;
    CHECK_EQ(run_bytes(arm, sizeof arm, &r), 126);
    CHECK(strstr(r->status.text, "Exec format error"));
}

TEST(init_script_without_interpreter)
{
    static const char text[] = "echo \"<$1>\"; exit 3\n", missing[] = "#!/no/such/interpreter\n";
    struct run *r;
    CHECK_EQ(run_bytes(text, sizeof text - 1, &r), 3);
    CHECK_STR(r->text[0], "<one>\n");
    CHECK_EQ(run_bytes(missing, sizeof missing - 1, &r), 127);
    CHECK(strstr(r->status.text, "interpreter"));
}

TEST(init_stdin_and_its_end)
{
    struct run *r = run_command(ARGV("cat"));
    r->input = "a line\n\0\xff";
    r->input_size = 9;
    r->input_end = true;
    CHECK_EQ(run_end(r), 0);
    CHECK_EQ(r->bytes[0], 9);
    CHECK(!memcmp(r->text[0], "a line\n\0\xff", 9));
}

TEST(init_damaged_input_is_no_success)
{
    for (unsigned status = 0; status < 4; status += 3) {
        struct run *r = run_command(ARGV("sh", "-c", status ? "cat; exit 3" : "cat"));
        CHECK(send(r->fd, "noise", 5, MSG_NOSIGNAL) == 5);
        r->input = "a line\n";
        r->input_size = 7;
        r->input_end = true;
        CHECK_EQ(run_end(r), status ? status : 125);
        CHECK_EQ(r->bytes[0], 7);
    }
}

TEST(init_large_stdin_through_cat)
{
    struct run *r = run_command(ARGV("cat"));
    r->input_size = 3000000;
    r->input_end = true;
    CHECK_EQ(run_end(r), 0);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < r->input_size; i++)
        sum = (sum ^ (uint8_t)(i * 7 + (i >> 11))) * 0x100000001b3ull;
    CHECK_EQ(r->bytes[0], r->input_size);
    CHECK_EQ(r->sum[0], sum);
}

TEST(init_ten_megabytes_of_stdout)
{
    struct run *r;
    CHECK_EQ(sh("head -c 10000000 /dev/zero; exit 5", &r), 5);
    CHECK_EQ(r->bytes[0], 10000000);
}

TEST(init_command_that_never_reads_blocks_nothing)
{
    struct run *r = run_command(ARGV("sh", "-c", "head -c 1000000 /dev/zero; exit 4"));
    r->input_size = 1 << 30;
    CHECK_EQ(run_end(r), 4);
    CHECK_EQ(r->bytes[0], 1000000);
    CHECK(r->input_at <= STDIN_WINDOW + 65536); /* its window and the pipe */
}

TEST(init_command_that_closes_stdin)
{
    struct run *r = run_command(ARGV("sh", "-c", "exec <&-; sleep 0.2; echo ok"));
    r->input_size = 1 << 20;
    CHECK_EQ(run_end(r), 0);
    CHECK_STR(r->text[0], "ok\n");
}

/* Until the command has written all that the host's end of stdout holds, which takes nothing. */
static void fill(struct run *r)
{
    r->full[0] = true;
    while (r->offered < OUTPUT_WINDOW && run_step(r, 20000))
        channel_resume(r->ch, CHANNEL_STDOUT); /* offers it again */
    CHECK_EQ(r->offered, OUTPUT_WINDOW);
}

TEST(init_full_stdout_stops_nothing_else)
{
    struct run *r = run_command(ARGV("sh", "-c", "head -c 1000000 /dev/zero; echo end >&2; exit 6"));
    /* Nothing of stdout is taken: the command is held, and the line stays free. */
    fill(r);
    while (run_step(r, 300))
        ;
    CHECK(!r->done);
    CHECK_EQ(channel_room(r->ch) > 0, true);
    CHECK_EQ(r->bytes[0], 0);
    r->full[0] = false;
    channel_resume(r->ch, CHANNEL_STDOUT);
    CHECK_EQ(run_end(r), 6);
    CHECK_EQ(r->bytes[0], 1000000);
    CHECK_STR(r->text[1], "end\n");
}

TEST(init_signal_while_stdout_is_full)
{
    struct run *r = run_command(ARGV("cat", "/dev/zero"));
    fill(r);
    channel_signal(r->ch, SIGUSR1);
    while (run_step(r, 300))
        ;
    r->full[0] = false; /* what it had written is owed */
    channel_resume(r->ch, CHANNEL_STDOUT);
    CHECK_EQ(run_end(r), 128 + SIGUSR1);
    CHECK(r->bytes[0] >= OUTPUT_WINDOW);
}

TEST(init_closed_stdout_is_sigpipe)
{
    struct run *r = run_command(ARGV("sh", "-c", "cat /dev/zero; echo $? >&2; exit 1"));
    while (!r->bytes[0] && run_step(r, 20000))
        ;
    channel_close_output(r->ch, CHANNEL_STDOUT);
    CHECK_EQ(run_end(r), 1);
    CHECK_STR(r->text[1], "141\n");
}

TEST(init_background_child_holds_nothing_up)
{
    struct run *r;
    CHECK_EQ(sh("sleep 100 & echo $!; exit 9", &r), 9);
    CHECK(atoi(r->text[0]) > 1);
    kill(atoi(r->text[0]), SIGKILL);
    CHECK_EQ(sh("yes & echo $! >&2; exit 8", &r), 8); /* one that goes on writing */
    kill(atoi(r->text[1]), SIGKILL);
}

TEST(init_stop_then_kill)
{
    struct run *r = run_command(ARGV("sleep", "100"));
    while (!r->hello && run_step(r, 20000))
        ;
    channel_stop(r->ch, 60000);
    CHECK_EQ(run_end(r), 128 + SIGTERM);
    r = run_command(ARGV("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"));
    while (!r->bytes[0] && run_step(r, 20000))
        ;
    channel_stop(r->ch, 50);
    CHECK_EQ(run_end(r), 137);
}

static unsigned long cpu_ticks(pid_t pid)
{
    char path[64], text[512] = "";
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fgets(text, sizeof text, f) && strrchr(text, ')'))
        sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    if (f)
        fclose(f);
    return user + kernel;
}

/* The command is over, its time was up, its output waits for the host: nobody may spin meanwhile. */
TEST(init_waits_for_credit_asleep)
{
    struct run *r = run_command(ARGV("cat", "/dev/zero"));
    fill(r);
    channel_stop(r->ch, 10);
    while (run_step(r, 500))
        ;
    CHECK(!r->done);
    CHECK(cpu_ticks(r->pid) <= 10);
    r->full[0] = false;
    channel_resume(r->ch, CHANNEL_STDOUT);
    CHECK_EQ(run_end(r), 128 + SIGTERM);
}

TEST(init_signal_to_the_command)
{
    struct run *r =
        run_command(ARGV("sh", "-c", "trap 'echo got; exit 3' USR2; echo up; while :; do sleep 0.05; done"));
    while (!r->bytes[0] && run_step(r, 20000))
        ;
    channel_signal(r->ch, SIGUSR2);
    CHECK_EQ(run_end(r), 3);
    CHECK_STR(r->text[0], "up\ngot\n");
}

static void need_terminals(void)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    bool there = fd >= 0 && !grantpt(fd) && !unlockpt(fd);
    close(fd);
    if (!there)
        SKIP("no terminals of one's own (/dev/ptmx, /dev/pts)");
}

TEST(init_pty)
{
    need_terminals();
    struct run *r = run_start(
        &(struct command_file){
            .argv = ARGV("sh", "-c",
                         "test -t 0 && test -t 1 && stty size; read a; echo \"<$a>\"; stty size; exit 3"),
            .envp = some_env,
            .flags = COMMAND_PTY | COMMAND_PTY_STDERR,
            .winsize = {.rows = 33, .cols = 77}
    },
        false);
    while (!strchr(r->text[0], '\n') && run_step(r, 20000))
        ;
    channel_winsize(r->ch, 40, 100, 0, 0);
    r->input = "word\r";
    r->input_size = 5;
    CHECK_EQ(run_end(r), 3);
    CHECK_STR(r->text[0], "33 77\r\nword\r\n<word>\r\n40 100\r\n");
}

TEST(init_pty_stderr_apart_and_end_of_input)
{
    need_terminals();
    struct run *r = run_start(&(struct command_file){.argv = ARGV("sh", "-c", "cat; echo e >&2"),
                                                     .envp = some_env,
                                                     .flags = COMMAND_PTY},
                              false);
    r->input_end = true;
    CHECK_EQ(run_end(r), 0);
    CHECK_STR(r->text[1], "e\n");
}

TEST(init_pty_interrupt_key)
{
    need_terminals();
    struct run *r = run_start(&(struct command_file){.argv = ARGV("sh", "-c", "echo up; exec sleep 100"),
                                                     .envp = some_env,
                                                     .flags = COMMAND_PTY | COMMAND_PTY_STDERR},
                              false);
    while (!strchr(r->text[0], '\n') && run_step(r, 20000))
        ;
    r->input = "\x03";
    r->input_size = 1;
    CHECK_EQ(run_end(r), 130);
}

TEST(init_damaged_command_file)
{
    struct run *r = run_start(&(struct command_file){.argv = ARGV("true"), .envp = some_env}, true);
    CHECK_EQ(run_end(r), 125);
    CHECK(strstr(r->status.text, "damaged"));
}

/* Words of all lists are told apart; only process 1 mounts anything. */
TEST(init_command_file_with_shares)
{
    static const char *const shares[] = {"tag", "/no/such/place", "ro", "other", "/", "", NULL};
    static const char *const modules[] = {"?/no/such/module", "a=1", NULL};
    struct command_file f = {
        .argv = ARGV("sh", "-c", "exit 3"), .envp = some_env, .modules = modules, .shares = shares};
    CHECK_EQ(run_end(run_start(&f, false)), 3);
    struct run *r = run_start(&f, true); /* the NUL of the last word */
    CHECK_EQ(run_end(r), 125);
    CHECK(strstr(r->status.text, "damaged"));
}

TEST(init_bad_folder)
{
    struct run *r = run_start(
        &(struct command_file){.argv = ARGV("true"), .envp = some_env, .folder = "/no/such"}, false);
    CHECK_EQ(run_end(r), 125);
    CHECK_STR(r->status.text, "folder /no/such: No such file or directory");
}
