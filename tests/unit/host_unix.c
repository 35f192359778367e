// SPDX-License-Identifier: MIT
/* Unix sockets that listen at a path, and all that may stand there. The clock is this file's: nanosleep() returns at once and
 * does what a test wants to happen while the lock is waited for; connect() does what happens right after the question. */
#include "race.h"
#include "test.h"

#include "kvm/host/unix_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void (*while_waiting)(void), (*after_asking)(void);
static unsigned slept; /* ms */
static bool in_real_time;

int nanosleep(const struct timespec *time, struct timespec *rest)
{
    if (in_real_time)
        return (int)syscall(SYS_nanosleep, time, rest);
    slept += (unsigned)(time->tv_nsec / 1000000);
    if (while_waiting)
        while_waiting();
    return 0;
}

int connect(int fd, const struct sockaddr *to, socklen_t n)
{
    int result = (int)syscall(SYS_connect, fd, to, n), error = errno;
    if (after_asking)
        after_asking();
    errno = error;
    return result;
}

static char folder[64], path[UNIX_PATH], other[UNIX_PATH];

static void begin(void)
{
    strcpy(folder, "/tmp/vmlet-unit-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    while_waiting = after_asking = NULL;
    slept = 0;
}

static void end(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(!system(command));
}

/* A socket bound there by somebody else, of any type; listening where queue >= 0. */
static int make(const char *at, int type, int queue)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, at);
    CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a));
    CHECK(queue < 0 || !listen(fd, queue));
    return fd;
}

static void dead(const char *at)
{
    close(make(at, SOCK_STREAM, 1));
}

static bool answers(const char *at)
{
    int fd = unix_connect(at);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool is_there(const char *at)
{
    struct stat st;
    return !lstat(at, &st);
}

static bool refused(int error)
{
    struct unix_listener l;
    bool opened = unix_listener_open(&l, path, 8);
    int why = errno;
    unix_listener_close(&l);
    return !opened && why == error;
}

static int hold_lock(void)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0 && !flock(fd, LOCK_EX));
    return fd;
}

TEST(unix_listener_comes_and_goes)
{
    struct unix_listener l, second;
    struct stat st;
    begin();
    mode_t mask = umask(0022);
    CHECK(unix_listener_open(&l, path, 8));
    CHECK_EQ(umask(mask), 0022);
    CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode));
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK(fcntl(l.fd, F_GETFD) & FD_CLOEXEC && fcntl(l.fd, F_GETFL) & O_NONBLOCK);
    CHECK(answers(path));
    int caller = accept(l.fd, NULL, NULL);
    CHECK(caller >= 0 && accept(l.fd, NULL, NULL) < 0 && errno == EAGAIN);
    close(caller);
    CHECK(unix_listener_open(&second, other, 8));
    unix_listener_close(&l);
    CHECK(!is_there(path) && is_there(other) && fcntl(second.fd, F_GETFD) >= 0);
    unix_listener_close(&l); /* again */
    unix_listener_close(&second);
    unix_listener_close(&(struct unix_listener){0}); /* one that never was */
    CHECK(!is_there(other) && fcntl(0, F_GETFD) >= 0);
    end();
}

TEST(unix_listener_replaces_a_dead_one_only)
{
    struct unix_listener l;
    begin();
    dead(path);
    CHECK(unix_listener_open(&l, path, 8));
    CHECK(answers(path));
    CHECK(refused(EADDRINUSE) && answers(path));
    unix_listener_close(&l);
    close(make(path, SOCK_DGRAM, -1)); /* whatever it was */
    CHECK(unix_listener_open(&l, path, 8));
    unix_listener_close(&l);
    /* A queue that is full, a socket of another type, one that has no room for us: connect() fails at each, all are alive. */
    int fd = make(path, SOCK_STREAM, 0), in_queue = unix_connect(path);
    CHECK(in_queue >= 0 && unix_connect(path) < 0 && errno == EAGAIN);
    CHECK(refused(EADDRINUSE) && is_there(path));
    CHECK(!unix_listener_clear(path) && errno == EADDRINUSE && is_there(path));
    close(in_queue);
    close(fd);
    unlink(path);
    for (int i = 0; i < 2; i++) {
        fd = make(path, i ? SOCK_DGRAM : SOCK_SEQPACKET, i ? -1 : 1);
        CHECK(unix_connect(path) < 0 && errno == EPROTOTYPE);
        CHECK(refused(EADDRINUSE) && is_there(path));
        close(fd);
        unlink(path);
    }
    CHECK_EQ(slept, 0);
    end();
}

/* Another user's, which we may not even ask. */
TEST(unix_listener_leaves_what_it_may_not_ask)
{
    if (geteuid())
        SKIP("needs root, to become somebody else");
    begin();
    int fd = make(path, SOCK_STREAM, 1), status;
    CHECK(!chmod(path, 0600) && !chmod(folder, 0777));
    fflush(stdout);
    pid_t pid = fork();
    if (!pid)
        _exit(setuid(65534) ? 9 : unix_connect(path) >= 0 || errno != EACCES ? 1 : !refused(EADDRINUSE));
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK(is_there(path));
    close(fd);
    end();
}

/* X5: what lies where the socket goes. */
TEST(X5_unix_listener_removes_sockets_only)
{
    struct stat before, st;
    begin();
    dead(other);
    for (int kind = 0; kind < 6; kind++) {
        switch (kind) {
        case 0:
            close(open(path, O_CREAT | O_WRONLY, 0600));
            break;
        case 1:
            CHECK(!mkdir(path, 0700));
            break;
        case 2:
            CHECK(!mkfifo(path, 0600));
            break;
        case 3:
            CHECK(!symlink("/etc/passwd", path));
            break;
        case 4:
            CHECK(!symlink("/nowhere/at-all", path));
            break;
        default:
            CHECK(!symlink(other, path)); /* a dead socket, behind a link */
        }
        CHECK(!lstat(path, &before));
        CHECK(refused(EEXIST));
        CHECK(!unix_listener_clear(path) && errno == EEXIST);
        CHECK(!lstat(path, &st) && st.st_ino == before.st_ino);
        CHECK(!remove(path));
    }
    CHECK(is_there(other) && !is_there("/nowhere"));
    end();
}

TEST(X5_unix_listener_paths)
{
    struct unix_listener l;
    char longest[UNIX_PATH + 1];
    int home = open(".", O_RDONLY | O_DIRECTORY);
    begin();
    int n = snprintf(longest, sizeof longest, "%s/", folder);
    memset(longest + n, 'x', sizeof longest - 1 - (size_t)n);
    longest[UNIX_PATH] = 0; /* one too many */
    CHECK(!unix_listener_open(&l, longest, 8) && errno == ENAMETOOLONG);
    CHECK(unix_connect(longest) < 0 && errno == ENAMETOOLONG);
    CHECK(!unix_listener_clear(longest) && errno == ENAMETOOLONG);
    longest[UNIX_PATH - 1] = 0;
    CHECK(unix_listener_open(&l, longest, 8) && answers(longest));
    unix_listener_close(&l);
    CHECK(!is_there(longest));
    CHECK(!unix_listener_open(&l, "", 8) && errno == ENOENT); /* not an address of the kernel's choice */
    CHECK(unix_connect("") < 0 && errno == ENOENT);
    CHECK(!unix_listener_open(&l, "/nowhere/at-all", 1) && errno == ENOENT);
    CHECK(!chdir(folder)); /* a name without a folder */
    dead("s");
    CHECK(unix_listener_open(&l, "s", 8) && answers(path));
    unix_listener_close(&l);
    CHECK(!is_there(path));
    CHECK(!fchdir(home));
    close(home);
    end();
}

TEST(unix_listener_removes_its_own_file_only)
{
    struct unix_listener l, second;
    int status;
    begin();
    CHECK(unix_listener_open(&l, path, 8) && unix_listener_open(&second, other, 8));
    CHECK(!unlink(path));
    int fd = make(path, SOCK_STREAM, 1); /* another's by now */
    fflush(stdout);
    pid_t pid = fork();
    if (!pid)
        exit(0); /* a child's end is not ours */
    CHECK(waitpid(pid, &status, 0) == pid && !status && is_there(other));
    unix_listeners_end();
    CHECK(is_there(path) && !is_there(other));
    unix_listeners_end();
    unix_listener_close(&l);
    unix_listener_close(&second);
    CHECK(answers(path));
    close(fd);
    end();
}

/* A process that ends by exit() leaves no file. */
TEST(unix_listener_goes_with_its_process)
{
    int status;
    begin();
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        static struct unix_listener l;
        bool good = unix_listener_open(&l, path, 8) && is_there(path);
        exit(!good);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK(!is_there(path));
    end();
}

/* --- races */

static int bound, lock;

static void listens_at_last(void)
{
    if (slept != 30)
        return;
    CHECK(!listen(bound, 1));
    close(lock);
}

/* Somebody who holds the lock is between his bind() and his listen(): he refuses connections, and is not dead. */
TEST(X5_unix_listener_waits_for_the_lock)
{
    begin();
    lock = hold_lock();
    bound = make(path, SOCK_STREAM, -1);
    CHECK(!answers(path) && errno == ECONNREFUSED);
    while_waiting = listens_at_last;
    CHECK(refused(EADDRINUSE));
    CHECK_EQ(slept, 30);
    CHECK(answers(path));
    close(bound);
    end();
}

/* A lock that is never given up (anyone who can read the folder can hold it) keeps nobody from a free place. */
TEST(X5_unix_listener_without_the_lock)
{
    struct unix_listener l;
    begin();
    dead(path);
    lock = hold_lock();
    CHECK(refused(ETIMEDOUT) && is_there(path));
    CHECK_EQ(slept, UNIX_PATIENCE);
    CHECK(!unix_listener_clear(path) && errno == ETIMEDOUT && is_there(path));
    CHECK(unix_listener_open(&l, other, 8) && answers(other));
    unix_listener_close(&l);
    close(lock);
    CHECK(unix_listener_clear(path) && !is_there(path));
    CHECK(!unix_listener_clear(path) && errno == ENOENT);
    end();
}

static void exchange(void)
{
    after_asking = NULL;
    CHECK(!rename(other, path));
}

static void vanish(void)
{
    after_asking = NULL;
    CHECK(!unlink(path));
}

/* One that takes no lock puts a living socket there right after the dead one was asked; or the dead one goes by itself. */
TEST(X5_unix_listener_and_what_changes_under_it)
{
    struct unix_listener l;
    begin();
    dead(path);
    int fd = make(other, SOCK_STREAM, 1);
    after_asking = exchange;
    CHECK(refused(EADDRINUSE) && answers(path));
    close(fd);
    unlink(path);
    dead(path);
    after_asking = vanish;
    CHECK(unix_listener_open(&l, path, 8) && answers(path));
    unix_listener_close(&l);
    end();
}

static char take_the_place(void)
{
    static struct unix_listener l;
    return unix_listener_open(&l, path, 8) ? 'w' : errno == EADDRINUSE ? 'l' : '?';
}

/* Several processes want the place of a dead one at once: one gets it, and is the one that answers there. */
TEST(X5_unix_listener_race_for_a_dead_ones_place)
{
    unsigned rounds = (unsigned)test_scale(20);
    begin();
    in_real_time = true; /* others hold the lock for as long as the machine lets them */
    for (unsigned round = 0; round < rounds; round++) {
        struct race r;
        dead(path);
        CHECK_EQ(race(&r, 4, take_the_place), 1);
        CHECK(answers(path));
        race_end(&r);
        CHECK(!unlink(path));
    }
    in_real_time = false;
    end();
}
