// SPDX-License-Identifier: MIT
#include "race.h"
#include "test.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each test has a runtime folder of its own, one fake clock, and steps the loop itself, or lets a thread run it. */
static char base[64];
static uint64_t now;
static struct loop *loop;
static struct ctl *ctl;

static uint64_t fake_now(void *ctx)
{
    return *(uint64_t *)ctx;
}

static const char *echo(void *arg, int argc, char **argv, FILE *out)
{
    (void)arg;
    for (int i = 0; i < argc; i++)
        fprintf(out, "[%s]\n", argv[i]);
    return NULL;
}

static const char *info_mtree(void *arg, int argc, char **argv, FILE *out)
{
    (void)arg;
    fprintf(out, "tree %d %s", argc, argc ? argv[0] : "-"); /* without a newline */
    return NULL;
}

static const char *fails(void *arg, int argc, char **argv, FILE *out)
{
    (void)arg;
    (void)argc;
    (void)argv;
    fputs("some text\nok\n", out); /* not the verdict */
    return ctl_say("no\nsuch %s", "luck");
}

static const char *big(void *arg, int argc, char **argv, FILE *out)
{
    (void)arg;
    (void)argc;
    (void)argv;
    for (int i = 0; i < 200000; i++)
        fprintf(out, "line %d\n", i);
    return NULL;
}

static void folder(void)
{
    strcpy(base, "/tmp/vmlet-unit-XXXXXX");
    CHECK(mkdtemp(base));
    setenv("XDG_RUNTIME_DIR", base, 1);
}

static void clear_folder(void)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", base);
    CHECK(!system(cmd));
    unsetenv("XDG_RUNTIME_DIR");
    opts_release();
}

static void begin(const char *name)
{
    const char *error;
    folder();
    now = 1;
    loop = loop_new(&(struct clock){fake_now, &now});
    ctl = ctl_new(loop, name, &error);
    if (!ctl)
        printf("%s\n", error);
    CHECK(ctl);
    ctl_add(ctl, "echo", "WORD…: says them", echo, NULL);
    ctl_add(ctl, "info", "", fails, NULL);
    ctl_add(ctl, "info mtree", "[-f]", info_mtree, NULL);
    ctl_add(ctl, "big", "", big, NULL);
}

static void end(void)
{
    ctl_free(ctl);
    loop_free(loop);
    clear_folder();
}

static void *run(void *arg)
{
    loop_run(arg);
    return NULL;
}

/* A client by hand. */
static int dial(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/vmlet/%s.sock", base, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void settle(void)
{
    for (int quiet = 0; quiet < 3;)
        quiet = loop_step(loop) ? 0 : quiet + 1;
}

/* Steps the loop and returns what the server sent until it closed; "(open)" when it did not close. */
static const char *answer(int fd)
{
    static char text[4096];
    settle();
    size_t n = 0;
    for (ssize_t r; (r = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT)) != 0;) {
        if (r < 0)
            return errno == ECONNRESET && n ? (text[n] = 0, text) : errno == EAGAIN ? "(open)" : "(reset)";
        n += (size_t)r;
    }
    text[n] = 0;
    return text;
}

static const char *say(const char *line)
{
    int fd = dial("g");
    CHECK(fd >= 0);
    CHECK(send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line));
    const char *a = answer(fd);
    close(fd);
    settle();
    return a;
}

TEST(ctl_commands_and_verdicts)
{
    begin("g");
    CHECK_STR(say("echo\n"), "ok\n");
    CHECK_STR(say("echo a  \"b c\" \"\" \"q\\\"\\\\\" d\\e\r\n"), "[a]\n[b c]\n[]\n[q\"\\]\n[d\\e]\nok\n");
    CHECK_STR(say("info mtree -f\n"), "tree 1 -f\nok\n");
    CHECK_STR(say("info mtree\n"), "tree 0 -\nok\n");
    CHECK_STR(say("info\n"), "some text\nok\nerror: no?such luck\n");
    CHECK_STR(say("info other\n"), "some text\nok\nerror: no?such luck\n");
    CHECK_STR(say("inf\n"), "error: inf: no such command (try help)\n");
    CHECK_STR(say("\n"), "error: no command (try help)\n");
    CHECK_STR(say("   \n"), "error: no command (try help)\n");
    CHECK_STR(say("echo \"a\n"), "error: a quote is not closed\n");
    CHECK_STR(say("echo \"a\\\n"), "error: a quote is not closed\n");
    CHECK_STR(say("echo \"a\"b\n"), "error: a blank is missing after a quoted word\n");
    CHECK_STR(say("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3\n"),
              "error: too many words\n");
    CHECK(strstr(say("help\n"), "info mtree [-f]\n"));
    CHECK(strstr(say("echo one\necho two\n"), "[one]\nok\n") && !strstr(say("echo one\necho two\n"), "two"));
    end();
}

TEST(ctl_hostile_clients)
{
    begin("g");
    /* Slow: byte by byte is fine, as long as the line comes within its time. */
    int fd = dial("g");
    for (const char *s = "echo x\n"; *s; s++) {
        CHECK_STR(answer(fd), "(open)");
        CHECK(send(fd, s, 1, 0) == 1);
    }
    CHECK_STR(answer(fd), "[x]\nok\n");
    close(fd);
    fd = dial("g");
    CHECK(send(fd, "echo", 4, 0) == 4);
    CHECK_STR(answer(fd), "(open)");
    now += 5100000000ull;
    CHECK_STR(answer(fd), "");
    close(fd);
    /* An endless line. */
    fd = dial("g");
    char xs[CTL_LINE];
    memset(xs, 'x', sizeof xs);
    CHECK(send(fd, xs, sizeof xs, 0) == sizeof xs);
    CHECK_STR(answer(fd), "error: the line is too long\n");
    close(fd);
    /* A zero byte, an end without a line, a client that is gone at once. */
    fd = dial("g");
    CHECK(send(fd, "ec\0ho\n", 6, 0) == 6);
    CHECK_STR(answer(fd), "error: a zero byte in the line\n");
    close(fd);
    fd = dial("g");
    CHECK(send(fd, "echo", 4, 0) == 4);
    shutdown(fd, SHUT_WR);
    CHECK_STR(answer(fd), "");
    close(fd);
    fd = dial("g");
    CHECK(send(fd, "big\n", 4, 0) == 4);
    close(fd);
    settle();
    /* More clients than are taken: the rest wait, and come in when those are thrown out. */
    int many[CTL_CLIENTS + 2];
    for (int i = 0; i < CTL_CLIENTS + 2; i++) {
        many[i] = dial("g");
        CHECK(many[i] >= 0);
        settle();
    }
    CHECK(send(many[CTL_CLIENTS + 1], "echo late\n", 10, 0) == 10);
    CHECK_STR(answer(many[CTL_CLIENTS + 1]), "(open)");
    now += 5100000000ull;
    CHECK_STR(answer(many[CTL_CLIENTS + 1]), "[late]\nok\n");
    CHECK_STR(answer(many[0]), "");
    for (int i = 0; i < CTL_CLIENTS + 2; i++)
        close(many[i]);
    settle();
    /* One that asks for much and takes nothing is thrown out too. */
    fd = dial("g");
    CHECK(send(fd, "big\n", 4, 0) == 4);
    settle();
    now += 5100000000ull;
    settle();
    CHECK_EQ(loop_next(loop), LOOP_NEVER); /* no client's deadline is left */
    close(fd);
    CHECK_STR(say("echo still here\n"), "[still]\n[here]\nok\n");
    end();
}

TEST(X7_ctl_accept_without_descriptors)
{
    begin("g");
    struct rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    int fd = dial("g"), next = dup(0);
    close(next);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, old.rlim_max});
    CHECK(send(fd, "echo x\n", 7, 0) == 7);
    CHECK_EQ(loop_step(loop), 1);
    CHECK_EQ(loop_step(loop), 0); /* no spinning on the one that cannot be accepted */
    setrlimit(RLIMIT_NOFILE, &old);
    now += 200000000;
    CHECK_STR(answer(fd), "[x]\nok\n");
    close(fd);
    end();
}

struct seen {
    int n;
    char names[4][CTL_NAME + 1];
    pid_t pid;
};

static void see(void *arg, const char *name, pid_t pid)
{
    struct seen *s = arg;
    snprintf(s->names[s->n++ & 3], CTL_NAME + 1, "%s", name);
    s->pid = pid;
}

static const char *slurp(const char *error, char *text, size_t size)
{
    snprintf(text, size, "%s", error ? error : "(none)");
    return text;
}

TEST(ctl_client_side)
{
    char *text = NULL, e[512];
    size_t size;
    pthread_t t;
    begin("g");
    CHECK(!pthread_create(&t, NULL, run, loop));
    FILE *out = open_memstream(&text, &size);
    slurp(ctl_call("g", 4, (const char *[]){"echo", "a b", "", "q\"\\"}, out), e, sizeof e);
    CHECK_STR(e, "(none)");
    fflush(out);
    CHECK_STR(text, "[a b]\n[]\n[q\"\\]\n");
    rewind(out);
    slurp(ctl_call("g", 1, (const char *[]){"info"}, out), e, sizeof e);
    CHECK_STR(e, "g: no?such luck");
    rewind(out);
    slurp(ctl_call("g", 1, (const char *[]){"big"}, out), e, sizeof e);
    CHECK_STR(e, "(none)");
    fflush(out);
    CHECK(size > 2000000 && !strcmp(text + size - 12, "line 199999\n"));
    CHECK(strstr(ctl_call("g", 2, (const char *[]){"echo", "a\nb"}, out), "line break"));
    CHECK(strstr(ctl_call("other", 1, (const char *[]){"echo"}, out), "other: no such guest"));
    CHECK(strstr(ctl_call("../g", 1, (const char *[]){"echo"}, out), "must be 1 to 64"));
    struct seen seen = {.n = 0};
    CHECK(!ctl_list(see, &seen));
    CHECK_EQ(seen.n, 1);
    CHECK_STR(seen.names[0], "g");
    CHECK_EQ(seen.pid, getpid());
    loop_stop(loop);
    pthread_join(t, NULL);
    fclose(out);
    free(text);
    end();
}

TEST(ctl_without_a_folder)
{
    struct seen seen = {.n = 0};
    folder();
    CHECK(!ctl_list(see, &seen));
    CHECK_EQ(seen.n, 0);
    CHECK(strstr(ctl_call("g", 0, NULL, stdout), "no such guest"));
    clear_folder();
}

/* --- names, stale sockets, and what others put in our way --- */

TEST(ctl_names_stay_in_their_folder)
{
    static const char *const bad[] = {"",    ".",   "..", ".x",  "-x",       "a/b", "/",   "../x",
                                      "a b", "a\n", "a%", "a\"", "\xc3\xa4", "a:b", "a\\b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(ctl_name_error(bad[i]));
    char name[CTL_NAME + 2];
    memset(name, 'a', sizeof name);
    name[CTL_NAME + 1] = 0;
    CHECK(ctl_name_error(name));
    name[CTL_NAME] = 0;
    CHECK(!ctl_name_error(name));
    CHECK(!ctl_name_error("guest-123") && !ctl_name_error("a.b_c+d@e"));
    opts_release();
}

TEST(ctl_name_in_use_and_stale)
{
    const char *error;
    char path[128];
    begin("g");
    CHECK(!ctl_new(loop, "g", &error));
    CHECK(strstr(error, "a guest of that name is running"));
    settle();
    CHECK_STR(say("echo x\n"), "[x]\nok\n"); /* unharmed by the attempt */
    /* A process that died leaves its socket. */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/vmlet/dead.sock", base);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(!bind(fd, (struct sockaddr *)&a, sizeof a));
    CHECK(!listen(fd, 1));
    close(fd);
    CHECK(strstr(ctl_call("dead", 0, NULL, stdout), "no such guest"));
    struct ctl *again = ctl_new(loop, "dead", &error); /* taken over */
    CHECK(again);
    ctl_free(again);
    CHECK(access(a.sun_path, F_OK) < 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(!bind(fd, (struct sockaddr *)&a, sizeof a));
    close(fd);
    struct seen seen = {.n = 0};
    CHECK(!ctl_list(see, &seen)); /* removed by whoever finds it */
    CHECK_EQ(seen.n, 1);
    CHECK(access(a.sun_path, F_OK) < 0);
    /* Somebody removed ours, and another guest has the name: we do not remove his. */
    snprintf(path, sizeof path, "%s/vmlet/g.sock", base);
    CHECK(!unlink(path));
    again = ctl_new(loop, "g", &error);
    CHECK(again);
    ctl_free(ctl);
    CHECK(!access(path, F_OK));
    ctl = again;
    end();
}

TEST(X5_ctl_symlinks_and_strange_files)
{
    const char *error;
    char path[128], target[128];
    struct stat st;
    folder();
    loop = loop_new(NULL);
    snprintf(target, sizeof target, "%s/victim", base);
    int fd = open(target, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, "data", 4) == 4);
    close(fd);
    /* The folder itself as a symbolic link. */
    snprintf(path, sizeof path, "%s/vmlet", base);
    CHECK(!symlink("/tmp", path));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "symbolic link"));
    CHECK(!unlink(path));
    /* As a file. */
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "is no folder"));
    CHECK(!unlink(path));
    /* Open to others. */
    CHECK(!mkdir(path, 0700) && !chmod(path, 0755));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "open to other users"));
    CHECK(!chmod(path, 0700));
    /* Another's. */
    if (!geteuid()) {
        CHECK(!chown(path, 65534, 65534));
        CHECK(!ctl_new(loop, "g", &error) && strstr(error, "another user"));
        CHECK(!chown(path, 0, 0));
    }
    /* The socket's name as a link to a file, as a dangling link, a hard link, a folder. */
    snprintf(path, sizeof path, "%s/vmlet/g.sock", base);
    CHECK(!symlink(target, path));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "is no socket"));
    CHECK(ctl_call("g", 0, NULL, stdout));
    CHECK(!ctl_list(see, &(struct seen){.n = 0}));
    CHECK(!unlink(path) && !symlink("/nowhere/at-all", path));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "is no socket"));
    CHECK(!unlink(path) && !link(target, path));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "is no socket"));
    CHECK(!unlink(path) && !mkdir(path, 0700));
    CHECK(!ctl_new(loop, "g", &error) && strstr(error, "is no socket"));
    CHECK(!rmdir(path));
    CHECK(!stat(target, &st) && st.st_size == 4 && (st.st_mode & 0777) == 0600);
    ctl = ctl_new(loop, "g", &error);
    CHECK(ctl);
    end();
}

TEST(ctl_path_too_long)
{
    const char *error;
    folder();
    char deep[160];
    int n = snprintf(deep, sizeof deep, "%s/", base);
    memset(deep + n, 'd', 90);
    deep[n + 90] = 0;
    CHECK(!mkdir(deep, 0700));
    setenv("XDG_RUNTIME_DIR", deep, 1);
    loop = loop_new(NULL);
    CHECK(!ctl_new(loop, "guest", &error));
    CHECK(strstr(error, "is longer than") && strstr(error, "set XDG_RUNTIME_DIR"));
    loop_free(loop);
    clear_folder();
}

TEST(ctl_other_users_are_not_answered)
{
    if (geteuid())
        SKIP("needs root, to become somebody else");
    begin("g");
    char path[128];
    CHECK(!chmod(base, 0755));
    for (int open_folder = 0; open_folder < 2; open_folder++) {
        snprintf(path, sizeof path, "%s/vmlet", base);
        CHECK(!chmod(path, open_folder ? 0777 : 0700));
        snprintf(path, sizeof path, "%s/vmlet/g.sock", base);
        CHECK(!chmod(path, 0777));
        fflush(stdout);
        int p[2];
        CHECK(!pipe(p));
        pid_t pid = fork();
        if (!pid) {
            struct sockaddr_un a = {.sun_family = AF_UNIX};
            strcpy(a.sun_path, path);
            if (setuid(65534) < 0)
                _exit(9);
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
                _exit(errno == EACCES ? 1 : 8);
            if (write(p[1], "c", 1) < 0 || send(fd, "echo x\n", 7, MSG_NOSIGNAL) < 0)
                _exit(2); /* thrown out already */
            char c;
            _exit(recv(fd, &c, 1, 0) <= 0 ? 2 : 3);
        }
        close(p[1]);
        char c;
        if (open_folder)
            CHECK(read(p[0], &c, 1) == 1);
        close(p[0]);
        int status;
        if (open_folder)
            settle();
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), open_folder ? 2 : 1);
    }
    end();
}

static char take_the_name(void)
{
    const char *error;
    return ctl_new(loop_new(NULL), "g", &error) ? 'w' : strstr(error, "is running") ? 'l' : '?';
}

/* Several processes want one name at once: one gets it. */
TEST(ctl_race_for_a_name)
{
    struct race r;
    folder();
    CHECK_EQ(race(&r, 6, take_the_name), 1);
    race_end(&r);
    clear_folder();
}
