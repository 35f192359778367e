// SPDX-License-Identifier: MIT
/* The kernel's log, read for trouble: see include/guest/klog.h. One table of texts; the first that fits decides, so the
 * special ones stand before the general. */
#include "guest/klog.h"

#include <stdio.h>
#include <string.h>

#define KIND(k) (1u << KLOG_##k)

enum where {
    AT_START,
    ANYWHERE,
};

static const struct {
    const char *text;
    uint8_t where;
    unsigned kinds;
} troubles[] = {
  /* sanitizers, which say BUG: too */
    {"BUG: KASAN:",                                     AT_START, KIND(KASAN)              },
    {"BUG: KMSAN:",                                     AT_START, KIND(KASAN)              },
    {"BUG: KFENCE:",                                    AT_START, KIND(KASAN)              },
    {"BUG: KCSAN:",                                     AT_START, KIND(KCSAN)              },
    {"KASAN: ",                                         AT_START, KIND(KASAN)              },
    {"UBSAN:",                                          AT_START, KIND(UBSAN)              },
 /* kernel/locking/lockdep.c */
    {"WARNING: possible circular locking dependency",   AT_START, KIND(LOCKDEP)            },
    {"WARNING: possible recursive locking",             AT_START, KIND(LOCKDEP)            },
    {"WARNING: possible irq lock inversion",            AT_START, KIND(LOCKDEP)            },
    {"WARNING: inconsistent lock state",                AT_START, KIND(LOCKDEP)            },
    {"WARNING: bad unlock balance",                     AT_START, KIND(LOCKDEP)            },
    {"WARNING: bad contention",                         AT_START, KIND(LOCKDEP)            },
    {"WARNING: held lock freed",                        AT_START, KIND(LOCKDEP)            },
    {"WARNING: lock held when returning to user space", AT_START, KIND(LOCKDEP)            },
    {"WARNING: Nested lock was not taken",              AT_START, KIND(LOCKDEP)            },
    {" still has locks held!",                          ANYWHERE, KIND(LOCKDEP)            },
    {"-safe -> ",                                       ANYWHERE, KIND(LOCKDEP)            },
    {"INFO: trying to register non-static key",         AT_START, KIND(LOCKDEP)            },
    {"[ BUG: Invalid wait context ]",                   AT_START, KIND(LOCKDEP)            },
    {"BUG: MAX_LOCK",                                   AT_START, KIND(LOCKDEP)            },
    {"BUG: MAX_STACK_TRACE",                            AT_START, KIND(LOCKDEP)            },
    {"DEBUG_LOCKS_WARN_ON",                             AT_START, KIND(LOCKDEP)            },
    {"WARNING: suspicious RCU usage",                   AT_START, KIND(LOCKDEP) | KIND(RCU)},
 /* kernel/watchdog.c, hung_task.c, workqueue.c */
    {"watchdog: BUG: soft lockup",                      AT_START, KIND(HUNG)               },
    {"BUG: soft lockup",                                AT_START, KIND(HUNG)               },
    {"BUG: workqueue lockup",                           AT_START, KIND(HUNG)               },
    {"Watchdog detected hard LOCKUP",                   ANYWHERE, KIND(HUNG)               },
    {"blocked for more than",                           ANYWHERE, KIND(HUNG)               },
    {"blocked in I/O wait for more than",               ANYWHERE, KIND(HUNG)               },
 /* kernel/rcu/tree_stall.h */
    {"self-detected stall",                             ANYWHERE, KIND(RCU)                },
    {"detected stalls on CPUs",                         ANYWHERE, KIND(RCU)                },
    {"detected stalls on tasks",                        ANYWHERE, KIND(RCU)                },
    {"detected expedited stalls",                       ANYWHERE, KIND(RCU)                },
    {"kthread starved for",                             ANYWHERE, KIND(RCU)                },
 /* arch/x86/mm/fault.c, kernel/traps.c, kernel/dumpstack.c */
    {"BUG: unable to handle",                           AT_START, KIND(BUG) | KIND(OOPS)   },
    {"BUG: kernel NULL pointer dereference",            AT_START, KIND(BUG) | KIND(OOPS)   },
    {"Oops: ",                                          AT_START, KIND(OOPS)               },
    {"general protection fault",                        AT_START, KIND(OOPS)               },
    {"invalid opcode: ",                                AT_START, KIND(OOPS)               },
    {"stack segment: ",                                 AT_START, KIND(OOPS)               },
    {"divide error: ",                                  AT_START, KIND(OOPS)               },
    {"int3: ",                                          AT_START, KIND(OOPS)               },
    {"alignment check: ",                               AT_START, KIND(OOPS)               },
    {"double fault: ",                                  AT_START, KIND(OOPS)               },
    {"PANIC: double fault",                             AT_START, KIND(OOPS)               },
    {"kernel BUG at ",                                  AT_START, KIND(BUG)                },
    {"BUG: ",                                           AT_START, KIND(BUG)                },
    {"BUG ",                                            AT_START, KIND(BUG)                }, /* mm/slub.c */
    {"WARNING: ",                                       AT_START, KIND(WARN)               },
 /* mm/kmemleak.c */
    {"new suspected memory leaks",                      ANYWHERE, KIND(LEAK)               },
 /* kernel/module/, kernel/panic.c */
    {"taints kernel",                                   ANYWHERE, KIND(TAINT)              },
    {"tainting kernel",                                 ANYWHERE, KIND(TAINT)              },
    {"the quality is unknown, you have been warned",    ANYWHERE, KIND(TAINT)              },
};

static const char *const names[KLOG_KINDS] = {"warn",    "bug",  "oops", "kasan", "ubsan", "kcsan",
                                              "lockdep", "hung", "rcu",  "leak",  "taint"};

const char *klog_kind_name(enum klog_kind kind)
{
    return names[kind];
}

static bool begins(const char *line, const char *with)
{
    return !strncmp(line, with, strlen(with));
}

unsigned klog_judge(const char *line)
{
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
        if (troubles[i].where == AT_START ? begins(line, troubles[i].text)
                                          : strstr(line, troubles[i].text) != NULL)
            return troubles[i].kinds;
    return 0;
}

void klog_init(struct klog *k, void (*report)(void *ctx, const struct klog_report *report), void *ctx)
{
    k->report = report;
    k->ctx = ctx;
    k->kinds = 0;
    k->cut = false;
}

static void add(struct klog *k, const char *line)
{
    size_t n = strlen(line);
    if (k->lines >= KLOG_LINES || n + 2 > sizeof k->text - k->used) {
        k->truncated++;
        return;
    }
    memcpy(k->text + k->used, line, n);
    k->used += n;
    k->text[k->used++] = '\n';
    k->text[k->used] = 0;
    if (k->lines++ == 0)
        k->first = n;
}

void klog_end(struct klog *k)
{
    if (!k->kinds)
        return;
    struct klog_report report = {k->kinds, k->text, k->first, k->truncated};
    k->kinds = 0;
    k->report(k->ctx, &report);
}

/* WARN() with a text of its own says the text first and then, on x86, where it stands: the report begins with where, so that its
 * first line names the trouble, and the text comes next. */
static void begin(struct klog *k, unsigned kinds, const char *line)
{
    k->kinds = kinds;
    k->lines = k->truncated = 0;
    k->used = k->first = 0;
    add(k, line);
    if (k->cut && k->before[0])
        add(k, k->before);
    k->cut = false;
    /* One line says it all: nothing that follows by chance is taken for its trace, in which --allow would look as well. */
    if (kinds & (KIND(LEAK) | KIND(TAINT)) || (kinds == KIND(WARN) && !strstr(line, " at ")))
        klog_end(k);
}

static bool is_ruler(const char *line)
{
    size_t n = strspn(line, "=");
    return n >= 20 && !line[n];
}

/* Whether the line ends the report that is being built, and belongs to it. Sanitizers draw a line of '='; where there is no
 * end mark at all, the call trace's end has to do. */
static bool is_last(const struct klog *k, const char *line)
{
    bool ruled = k->kinds & (KIND(KASAN) | KIND(KCSAN) | KIND(UBSAN));
    bool unmarked = k->kinds & (KIND(LOCKDEP) | KIND(HUNG) | KIND(RCU)) || k->kinds == KIND(BUG);
    return begins(line, "---[ end trace") || begins(line, "---[ end Kernel panic") ||
           (ruled && is_ruler(line)) || (unmarked && begins(line + strspn(line, " "), "</TASK>"));
}

/* Whether the line, a trouble by itself, says more about the one that is being reported. */
static bool is_more(const struct klog *k, unsigned kinds, const char *line)
{
    if (kinds == KIND(OOPS)) /* what the CPU says of a BUG or a bad address */
        return k->kinds & (KIND(BUG) | KIND(OOPS) | KIND(KASAN));
    if (kinds == KIND(KASAN)) /* what a bad address may have been */
        return k->kinds & KIND(OOPS) && begins(line, "KASAN: ");
    /* DEBUG_LOCKS_WARN_ON() is a WARN() with a text */
    return kinds == KIND(WARN) && k->kinds == KIND(LOCKDEP) && k->lines == 1;
}

void klog_line(struct klog *k, const char *line)
{
    unsigned kinds = klog_judge(line);
    if (begins(line, "------------[ cut here ]")) {
        klog_end(k);
        k->cut = true;
        k->before[0] = 0;
        return;
    }
    if (k->kinds && (!kinds || is_more(k, kinds, line))) {
        k->kinds |= kinds;
        add(k, line);
        if (is_last(k, line) || k->lines >= KLOG_LINES)
            klog_end(k);
        return;
    }
    klog_end(k);
    if (kinds)
        begin(k, kinds, line);
    else if (k->cut && !k->before[0])
        snprintf(k->before, sizeof k->before, "%s", line);
    else
        k->cut = false; /* more than a text's line: it was no WARN()'s */
}
