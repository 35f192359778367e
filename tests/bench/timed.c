// SPDX-License-Identifier: MIT
// timed: runs a command with its output thrown away, kills it after 150 s, and prints what it took, in one line:
//   MILLISECONDS STATUS PRIVATE_KB
// PRIVATE_KB is the largest Private_Dirty of writable mappings under 16 MiB seen in /proc/PID/smaps, looked at ten times a second:
// what the process needs beside guest RAM. (The program's own text counts as dirty where its file lies in memory, as in the bed.)
// With -t no such looks are taken, since they cost time.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT = 150
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static pid_t child;

static void on_alarm(int sig)
{
    (void)sig;
    kill(child, SIGKILL);
}

static long private_kb(pid_t pid)
{
    char path[64], line[256];
    unsigned long from, to, size = 0, kb;
    long sum = 0;
    char perms[8];
    snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3)
            size = perms[1] == 'w' ? to - from : ~0ul;
        else if (sscanf(line, "Private_Dirty: %lu", &kb) == 1 && size < 16ul << 20)
            sum += (long)kb;
    }
    if (f)
        fclose(f);
    return sum;
}

int main(int argc, char **argv)
{
    int look = argc > 1 && !strcmp(argv[1], "-t") ? (argv++, argc--, 0) : 1, status;
    long most = 0;
    if (argc < 2)
        return 2;
    double start = now_ms();
    child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        if (!getenv("TIMED_ERR"))
            dup2(null, 2);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    signal(SIGALRM, on_alarm);
    alarm(LIMIT);
    while (waitpid(child, &status, look ? WNOHANG : 0) <= 0) {
        long kb = private_kb(child);
        most = kb > most ? kb : most;
        usleep(100000);
    }
    printf("%.0f %d %ld\n", now_ms() - start,
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), most);
    return 0;
}
