// SPDX-License-Identifier: MIT
/* How a run ended: see include/guest/result.h. */
#include "guest/result.h"

#include "guest/report_file.h"
#include "kvm/host/log.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;       /* vmlet's exit status, where the guest reported none */
    int with_command; /* the same where a status was owed */
    bool guest;       /* the guest reported a status, and that is the answer */
} reasons[END_REASONS] = {
    [END_NONE] = {"none",         STATUS_SETUP,   STATUS_SETUP,   false},
    [END_EXITED] = {"exited",       0,              0,              true },
    [END_SIGNALED] = {"signaled",     0,              0,              true },
    [END_POWEROFF] = {"poweroff",     0,              STATUS_DIED,    false},
    [END_REBOOT] = {"reboot",       0,              STATUS_DIED,    false},
    [END_HALTED] = {"halted",       STATUS_DIED,    STATUS_DIED,    false},
    [END_PANIC] = {"panic",        STATUS_DIED,    STATUS_DIED,    false},
    [END_TRIPLE_FAULT] = {"triple-fault", STATUS_DIED,    STATUS_DIED,    false},
    [END_KVM_ERROR] = {"kvm-error",    STATUS_DIED,    STATUS_DIED,    false},
    [END_TIMEOUT] = {"timeout",      STATUS_TIMEOUT, STATUS_TIMEOUT, false},
    [END_GATE] = {"gate",         STATUS_DIED,    STATUS_DIED,    false},
    [END_STOPPED] = {"stopped",      STATUS_DIED,    STATUS_DIED,    false},
    [END_SIGNAL] = {"signal",       128,            128,            false},
    [END_SETUP] = {"setup",        STATUS_SETUP,   STATUS_SETUP,   false},
};

const char *end_reason_name(enum end_reason reason)
{
    return reasons[reason].name;
}

static void set_detail(struct result *r, const char *text)
{
    snprintf(r->detail, sizeof r->detail, "%s", text);
    log_clean(r->detail, strlen(r->detail));
}

bool result_panic(struct result *r, const char *line)
{
    if (r->panicked || r->reason != END_NONE)
        return false;
    r->panicked = true;
    set_detail(r, line);
    return true;
}

void result_asked(struct result *r)
{
    r->asked = true;
}

/* How a guest ends that does as it was asked. */
static bool well_done(struct result *r, enum end_reason reason, int status)
{
    static const char *const how[END_REASONS] = {
        [END_EXITED] = "the guest reported",      [END_SIGNALED] = "the command died, which counts as",
        [END_POWEROFF] = "the guest powered off", [END_REBOOT] = "the guest rebooted",
        [END_HALTED] = "the guest halted",
    };
    if (!r->asked || !how[reason])
        return false;
    if (reasons[reason].guest)
        snprintf(r->detail, sizeof r->detail, "vmlet stop: %s %d", how[reason], status & 0xff);
    else
        snprintf(r->detail, sizeof r->detail, "vmlet stop: %s", how[reason]);
    r->reason = END_STOPPED;
    return true;
}

bool result_end(struct result *r, enum end_reason reason, int status, const char *detail)
{
    if (r->reason != END_NONE)
        return false;
    /* What a dead kernel does next is how its death ends, not what happened. */
    bool follows = reason == END_REBOOT || reason == END_POWEROFF || reason == END_HALTED ||
                   reason == END_TRIPLE_FAULT || reason == END_KVM_ERROR;
    if (r->panicked && follows) {
        r->reason = END_PANIC;
        return true;
    }
    if (well_done(r, reason, status))
        return true;
    r->reason = reason;
    r->status = reason == END_EXITED ? status & 0xff : status;
    if (detail)
        set_detail(r, detail);
    return true;
}

void result_caught(struct result *r, const char *text)
{
    if (r->gate[0])
        return;
    snprintf(r->gate, sizeof r->gate, "%s", text);
    log_clean(r->gate, strlen(r->gate));
}

void result_gate(struct result *r)
{
    bool well = r->reason == END_EXITED || r->reason == END_SIGNALED || r->reason == END_POWEROFF ||
                r->reason == END_REBOOT;
    if (!r->gate[0] || !well)
        return;
    int n = snprintf(r->detail, sizeof r->detail, "%s", r->gate);
    if (reasons[r->reason].guest)
        snprintf(r->detail + n, sizeof r->detail - (size_t)n, " (the guest's status was %d)",
                 r->status & 0xff);
    r->reason = END_GATE;
}

int result_status(const struct result *r)
{
    if (reasons[r->reason].guest)
        return r->status & 0xff;
    if (r->reason == END_SIGNAL)
        return 128 + r->status;
    if (r->reason == END_SETUP && r->status)
        return r->status;
    return r->command ? reasons[r->reason].with_command : reasons[r->reason].status;
}

const char *result_file_check(const char *path)
{
    return report_file_check("--result", path);
}

const char *result_file_write(const char *path, const struct result *r, uint64_t patience)
{
    char text[4096];
    int n = snprintf(
        text, sizeof text, "source=%s\nstatus=%d\nreason=%s\ndetail=%s\ntime_ms=%llu\nboot_ms=%llu\n",
        reasons[r->reason].guest ? "guest" : "vmlet", result_status(r), end_reason_name(r->reason), r->detail,
        (unsigned long long)r->time_ms, (unsigned long long)r->boot_ms);
    n +=
        snprintf(text + n, sizeof text - (size_t)n, "last_line=%s\nwarnings=%u\n", r->last_line, r->warnings);
    if (r->tested)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "tests_passed=%u\ntests_failed=%u\ntests_skipped=%u\n", r->passed, r->failed,
                      r->skipped);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s", r->faults);
    return report_file_write("--result", path, text, (size_t)n, patience);
}
