// SPDX-License-Identifier: MIT
/* The guests that run: see include/guest/list.h. */
#include "guest/list.h"

#include "kvm/host/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What /proc says of a process; zeroes where it is gone already. */
struct usage {
    unsigned long long age, cpu; /* seconds */
    unsigned long long memory;   /* bytes */
};

/* A file of /proc/pid, as far as it fits; text is empty where it cannot be read. */
static void proc_read(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    text[0] = 0;
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    text[fread(text, 1, size - 1, f)] = 0;
    fclose(f);
}

static struct usage usage_of(pid_t pid)
{
    struct usage u = {0};
    struct timespec now = {0};
    char text[1024];
    unsigned long long user, system, start, pages;
    unsigned long long ticks = (unsigned long long)sysconf(_SC_CLK_TCK);
    proc_read(pid, "stat", text, sizeof text);
    const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    clock_gettime(CLOCK_BOOTTIME, &now);
    /* after the name, fields 3 up: state …, 14 utime, 15 stime, 22 starttime */
    if (rest && ticks &&
        sscanf(rest + 1,
               " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s %llu", &user,
               &system, &start) == 3) {
        u.cpu = (user + system) / ticks;
        start /= ticks;
        u.age = (unsigned long long)now.tv_sec > start ? (unsigned long long)now.tv_sec - start : 0;
    }
    proc_read(pid, "statm", text, sizeof text);
    if (sscanf(text, "%*s %llu", &pages) == 1)
        u.memory = pages * (unsigned long long)sysconf(_SC_PAGESIZE);
    return u;
}

static void print_time(FILE *out, unsigned long long s)
{
    fprintf(out, " %4llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
}

static void print_guest(void *arg, const char *name, pid_t pid)
{
    struct usage u = usage_of(pid);
    fprintf(arg, "%-20s %ld", name, (long)pid);
    print_time(arg, u.age);
    print_time(arg, u.cpu);
    fprintf(arg, " %6lluM\n", u.memory >> 20);
}

const char *list_print(FILE *out, int headings)
{
    if (headings)
        fputs("name                 pid          up        cpu  memory\n", out);
    return ctl_list(print_guest, out);
}
