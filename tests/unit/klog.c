// SPDX-License-Identifier: MIT
/* The kernel's log read for trouble: texts as Linux 6.1 printed them, and a log that tries to be too much. */
#include "test.h"

#include "guest/klog.h"

#include <stdlib.h>
#include <string.h>

static struct {
    unsigned n, kinds[64], truncated;
    char first[64][160], second[64][160];
    size_t lines[64];
} got;

static void on_report(void *ctx, const struct klog_report *r)
{
    (void)ctx;
    if (got.n < 64) {
        got.kinds[got.n] = r->kinds;
        snprintf(got.first[got.n], sizeof got.first[0], "%.*s", (int)r->first, r->text);
        snprintf(got.second[got.n], sizeof got.second[0], "%.*s", (int)strcspn(r->text + r->first + 1, "\n"),
                 r->text + r->first + 1);
        for (const char *p = r->text; (p = strchr(p, '\n')); p++)
            got.lines[got.n]++;
    }
    got.truncated = r->truncated;
    got.n++;
}

static struct klog k;

/* The text's lines, and the log's end. */
static void read_log(const char *text)
{
    memset(&got, 0, sizeof got);
    klog_init(&k, on_report, NULL);
    char *copy = strdup(text), *save;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        klog_line(&k, line);
    klog_end(&k);
    free(copy);
}

#define KIND(x) (1u << KLOG_##x)

TEST(klog_kinds_by_their_first_line)
{
    static const struct {
        const char *line;
        unsigned kinds;
    } lines[] = {
        {"WARNING: CPU: 0 PID: 1 at kernel/foo.c:12 foo+0x1/0x2",                                    KIND(WARN)               },
        {"BUG: sleeping function called from invalid context at mm/slab.h:1",                        KIND(BUG)                },
        {"BUG: scheduling while atomic: swapper/0/0/0x00000002",                                     KIND(BUG)                },
        {"kernel BUG at lib/list_debug.c:26!",                                                       KIND(BUG)                },
        {"BUG: kernel NULL pointer dereference, address: 0000000000000000",                          KIND(BUG) | KIND(OOPS)   },
        {"BUG: unable to handle page fault for address: ffffffffdeadbeef",                           KIND(BUG) | KIND(OOPS)   },
        {"general protection fault, probably for non-canonical address 0x1: 0000 [#1]",              KIND(OOPS)               },
        {"BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0x1/0x2",                              KIND(KASAN)              },
        {"BUG: KFENCE: use-after-free read in test+0x1/0x2",                                         KIND(KASAN)              },
        {"BUG: KCSAN: data-race in a / b",                                                           KIND(KCSAN)              },
        {"UBSAN: shift-out-of-bounds in lib/x.c:1:2",                                                KIND(UBSAN)              },
        {"WARNING: possible circular locking dependency detected",                                   KIND(LOCKDEP)            },
        {"WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",                              KIND(LOCKDEP)            },
        {"WARNING: suspicious RCU usage",                                                            KIND(LOCKDEP) | KIND(RCU)},
        {"INFO: task sh:77 blocked for more than 120 seconds.",                                      KIND(HUNG)               },
        {"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:77]",                                KIND(HUNG)               },
        {"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",               KIND(HUNG)               },
        {"rcu: INFO: rcu_preempt self-detected stall on CPU",                                        KIND(RCU)                },
        {"rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",                                      KIND(RCU)                },
        {"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",                  KIND(LEAK)               },
        {"[ BUG: Invalid wait context ]",                                                            KIND(LOCKDEP)            },
        {"WARNING: halt/675 still has locks held!",                                                  KIND(LOCKDEP)            },
        {"INFO: task dd:456 blocked in I/O wait for more than 122 seconds.",                         KIND(HUNG)               },
        {"INFO: rcu_tasks detected stalls on tasks:",                                                KIND(RCU)                },
        {"BUG kmalloc-64 (Not tainted): Redzone overwritten",                                        KIND(BUG)                },
        {"KASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]",                   KIND(KASAN)              },
        {"Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP",    KIND(OOPS)               },
        {"WARNING: lib/refcount.c:28 at refcount_warn_saturate+0x1/0x2, CPU#0: sh/1",                KIND(WARN)               },
        {"edu: loading out-of-tree module taints kernel.",                                           KIND(TAINT)              },
        {"edu: module verification failed: signature and/or required key missing - tainting kernel",
         KIND(TAINT)                                                                                                          },
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        read_log(lines[i].line);
        CHECK_EQ(got.n, 1);
        CHECK_EQ(got.kinds[0], lines[i].kinds);
        CHECK(!strcmp(got.first[0], lines[i].line));
    }
}

TEST(klog_lines_that_are_no_trouble)
{
    static const char *const lines[] = {
        "ACPI: bus type PCI registered",
        "debug: BUG: is what it says",
        "no WARNING: here",
        "Kernel command line: console=ttyS0",
        "",
        "rcu: Hierarchical RCU implementation.",
        "watchdog: Delayed init of the lockup detector failed",
        "lockdep is turned off",
        "Oopsy",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        CHECK_EQ(klog_judge(lines[i]), 0);
}

TEST(klog_a_warning_takes_its_trace_along)
{
    read_log("first\n"
             "------------[ cut here ]------------\n"
             "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2\n"
             "Modules linked in:\n"
             "Call Trace:\n"
             " <TASK>\n"
             " f+0x1/0x2\n"
             " </TASK>\n"
             "---[ end trace 0000000000000000 ]---\n"
             "after\n"
             "more\n");
    CHECK_EQ(got.n, 1);
    CHECK_EQ(got.lines[0], 7);
}

/* The text is what --allow is written for, and what tells one WARN() of a function from the other. */
TEST(klog_a_warning_with_a_text_of_its_own)
{
    read_log("------------[ cut here ]------------\n"
             "refcount_t: underflow; use-after-free.\n"
             "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2\n"
             "---[ end trace 0000000000000000 ]---\n"
             "------------[ cut here ]------------\n"
             "WARNING: CPU: 0 PID: 1 at x.c:1 g+0x1/0x2\n"
             "---[ end trace 0000000000000000 ]---\n"
             "------------[ cut here ]------------\n"
             "DEBUG_LOCKS_WARN_ON(1)\n"
             "WARNING: CPU: 0 PID: 1 at x.c:1 h+0x1/0x2\n"
             "---[ end trace 0000000000000000 ]---\n");
    CHECK_EQ(got.n, 3);
    CHECK(!strncmp(got.first[0], "WARNING: ", 9));
    CHECK(!strcmp(got.second[0], "refcount_t: underflow; use-after-free."));
    CHECK_EQ(got.lines[0], 3);
    CHECK_EQ(got.lines[1], 2);
    CHECK_EQ(got.kinds[2], KIND(LOCKDEP) | KIND(WARN));
    CHECK_EQ(got.lines[2], 3);
}

/* What follows is no part of it: --allow is not to find there what lets it pass. */
TEST(klog_a_report_ends_where_its_trace_ends)
{
    read_log("WARNING: this is one line\n"
             "a driver speaks\n"
             "BUG: sleeping function called from invalid context at x.c:1\n"
             "Call Trace:\n"
             " <TASK>\n"
             " </TASK>\n"
             "a driver speaks\n");
    CHECK_EQ(got.n, 2);
    CHECK_EQ(got.lines[0], 1);
    CHECK_EQ(got.lines[1], 4);
}

TEST(klog_kasan_explains_a_bad_address)
{
    read_log(
        "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1]\n"
        "KASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]\n"
        "---[ end trace 0000000000000000 ]---\n");
    CHECK_EQ(got.n, 1);
    CHECK_EQ(got.kinds[0], KIND(OOPS) | KIND(KASAN));
}

TEST(klog_a_bug_and_its_oops_are_one)
{
    read_log("BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
             "#PF: supervisor write access in kernel mode\n"
             "Oops: 0002 [#1] PREEMPT SMP NOPTI\n"
             "RIP: 0010:f+0x1/0x2\n"
             "---[ end trace 0000000000000000 ]---\n"
             "kernel BUG at x.c:1!\n"
             "invalid opcode: 0000 [#2] SMP\n"
             "---[ end trace 0000000000000000 ]---\n");
    CHECK_EQ(got.n, 2);
    CHECK_EQ(got.kinds[0], KIND(BUG) | KIND(OOPS));
    CHECK_EQ(got.lines[0], 5);
    CHECK_EQ(got.kinds[1], KIND(BUG) | KIND(OOPS));
}

TEST(klog_rulers_end_a_sanitizers_report)
{
    read_log("==================================================================\n"
             "BUG: KASAN: use-after-free in f+0x1/0x2\n"
             "Read of size 4 at addr ffff888000000000 by task a/1\n"
             "==================================================================\n"
             "Disabling lock debugging due to kernel taint\n"
             "BUG: KASAN: double-free in g+0x1/0x2\n");
    CHECK_EQ(got.n, 2);
    CHECK_EQ(got.lines[0], 3);
    CHECK_EQ(got.lines[1], 1);
}

TEST(klog_lockdep_ends_with_its_call_trace)
{
    read_log("WARNING: possible recursive locking detected\n"
             "6.1.0 #1 Not tainted\n"
             "stack backtrace:\n"
             " <TASK>\n"
             " </TASK>\n"
             "not of it\n"
             "INFO: task a:1 blocked for more than 120 seconds.\n"
             "      Not tainted\n");
    CHECK_EQ(got.n, 2);
    CHECK_EQ(got.lines[0], 5);
    CHECK_EQ(got.lines[1], 2);
}

TEST(klog_a_second_trouble_ends_the_first)
{
    read_log("WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2\nWARNING: CPU: 0 PID: 1 at x.c:2 g+0x1/0x2\n");
    CHECK_EQ(got.n, 2);
}

/* A log that never ends its trace, in lines of every length, costs one report of KLOG_LINES lines. */
TEST(klog_a_trace_without_end_is_cut)
{
    static char line[1025];
    memset(&got, 0, sizeof got);
    klog_init(&k, on_report, NULL);
    klog_line(&k, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    for (unsigned i = 0; i < 10 * KLOG_LINES; i++) {
        memset(line, 'x', sizeof line - 1);
        line[i * 37 % (sizeof line - 1)] = 0;
        klog_line(&k, line);
    }
    klog_end(&k);
    CHECK_EQ(got.n, 1);
    CHECK(got.lines[0] <= KLOG_LINES);
    CHECK(got.truncated || got.lines[0] == KLOG_LINES);
}

TEST(klog_names_are_words)
{
    for (unsigned i = 0; i < KLOG_KINDS; i++)
        CHECK(klog_kind_name(i)[0] >= 'a' && klog_kind_name(i)[0] <= 'z');
}
