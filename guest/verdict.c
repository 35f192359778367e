// SPDX-License-Identifier: MIT
/* What the guest's output says about the run: see include/guest/verdict.h. */
#include "guest/verdict.h"

#include "guest/gate.h"
#include "guest/junit.h"
#include "guest/klog.h"
#include "guest/ktap.h"
#include "guest/machine.h"
#include "guest/naming.h"
#include "guest/report_file.h"
#include "guest/result.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"
#include "kvm/host/opts.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPORTS_KEPT = 64, /* for --junit; all are counted */
    REPORTS_TOLD = 16,
    FAILED_TOLD = 32,
};

#define NO_TEST                                                                                              \
    "no test was seen (KTAP or TAP, a version line first, in the kernel's log or the command's output)"

struct verdict {
    const struct machine_options *o;
    const struct gate *gate;
    struct verdict_config config;
    struct loop *loop;
    struct loop_timer silence;
    uint64_t heard; /* loop's clock */

    struct klog klog;
    struct ktap *ktap;
    struct ktap_reader log, output;
    regex_t *allow;
    size_t n_allow;
    char *reports[REPORTS_KEPT];
    unsigned n_reports; /* not allowed ones, kept or not */
    unsigned told;
    char last_line[160];

    struct loop_task tell; /* what is caught with --symbols, in this order */
    struct caught {
        unsigned word;
        size_t first;
        char *text;
    } waiting[REPORTS_TOLD];
    unsigned n_waiting;
};

static const char *compile(const struct machine_options *o, regex_t *into)
{
    for (size_t i = 0; i < o->allow.n; i++) {
        regex_t one;
        int error = regcomp(into ? &into[i] : &one, o->allow.v[i], REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
        if (error) {
            char why[128];
            regerror(error, &one, why, sizeof why);
            return opts_say("--allow %s: %s", o->allow.v[i], why);
        }
        if (!into)
            regfree(&one);
    }
    return NULL;
}

/* The loglevel from which on the console shows all kinds of trouble that are asked for: kernel/panic.c and lockdep.c print
 * warnings, kernel/module/main.c a notice on a module without a signature, kmemleak information, all others errors. */
static unsigned level_needed(uint32_t on)
{
    return on & 1u << KLOG_LEAK                          ? 7
           : on & 1u << KLOG_TAINT                       ? 6
           : on & (1u << KLOG_WARN | 1u << KLOG_LOCKDEP) ? 5
           : on & ((1u << KLOG_KINDS) - 1)               ? 4
                                                         : 0;
}

/* A gate that is shown nothing lets everything pass. The kernel takes the last of these words. */
static const char *check_sight(const struct machine_options *o)
{
    unsigned needed = level_needed(o->fail_on), level = 7;
    const char *word = "";
    int n = 0;
    if (!needed)
        return NULL;
    const char *p = o->params ? o->params : "";
    if (o->console == CONSOLE_NONE && !o->nodefaults && !strstr(p, "console=") && !strstr(p, "earlycon"))
        return "--fail-on: with --console none the kernel's log goes nowhere, so that nothing could be "
               "caught "
               "(take --console none away, or put console=ttyS0 into -p)";
    for (; *(p += strspn(p, " \t\n")); p += strcspn(p, " \t\n")) {
        size_t len = strcspn(p, " \t\n");
        bool quiet = len == 5 && !memcmp(p, "quiet", 5), set = len > 9 && !memcmp(p, "loglevel=", 9);
        if (len == 2 && !memcmp(p, "--", 2))
            break;
        if (len == 15 && !memcmp(p, "ignore_loglevel", 15))
            return NULL;
        if (len == 5 && !memcmp(p, "debug", 5))
            level = 10;
        if (quiet || set) {
            level = quiet ? 4 : (unsigned)strtoul(p + 9, NULL, 0);
            word = p;
            n = (int)len;
        }
    }
    if (level >= needed)
        return NULL;
    return opts_say("--fail-on: `%.*s` in -p hides from the log what it is to catch (loglevel=%u shows it)",
                    n, word, needed);
}

const char *verdict_check(const struct machine_options *o)
{
    const char *error = compile(o, NULL);
    if (!error)
        error = check_sight(o);
    return error || !o->junit ? error : report_file_check("--junit", o->junit);
}

/* ---- the kernel's log */

static bool allowed(const struct verdict *v, const char *text)
{
    for (size_t i = 0; i < v->n_allow; i++)
        if (regexec(&v->allow[i], text, 0, NULL, 0) == 0)
            return true;
    return false;
}

/* Whether the user sees the log as it is anyway. */
static bool log_is_shown(const struct machine_options *o)
{
    return o->kernel_log ? !strcmp(o->kernel_log, "stderr") || !strcmp(o->kernel_log, "stdout") : true;
}

static void tell(struct verdict *v, unsigned word, const char *text, size_t first)
{
    const struct symbols *s = v->config.symbols;
    const char *trace = text + first + (text[first] == '\n');
    warn("gate: %s: %.*s", klog_kind_name((enum klog_kind)word), (int)first, text);
    if (!log_is_shown(v->o) || (s && naming_any(s, trace)))
        naming_warn(s, trace);
}

static void tell_waiting(void *arg)
{
    struct verdict *v = arg;
    if (v->n_waiting)
        v->config.learn(v->config.ctx);
    for (unsigned i = 0; i < v->n_waiting; i++) {
        tell(v, v->waiting[i].word, v->waiting[i].text, v->waiting[i].first);
        free(v->waiting[i].text);
    }
    v->n_waiting = 0;
}

static void caught(struct verdict *v, unsigned word, const struct klog_report *r)
{
    char sentence[256], *copy;
    snprintf(sentence, sizeof sentence, "%s: %.*s", klog_kind_name((enum klog_kind)word), (int)r->first,
             r->text);
    gate_catch(v->gate, (enum gate_word)word, sentence);
    if (v->told++ >= REPORTS_TOLD)
        return;
    if (!v->config.symbols || !(copy = strdup(r->text))) {
        tell(v, word, r->text, r->first);
        return;
    }
    v->waiting[v->n_waiting++] = (struct caught){word, r->first, copy}; /* no more than are told */
    loop_task_post(&v->tell);
}

static void on_report(void *ctx, const struct klog_report *r)
{
    struct verdict *v = ctx;
    if (allowed(v, r->text))
        return;
    if (v->o->junit && v->n_reports < REPORTS_KEPT)
        v->reports[v->n_reports] = strdup(r->text);
    v->n_reports++;
    unsigned kinds = r->kinds & v->gate->on;
    if (kinds)
        caught(v, (unsigned)__builtin_ctz(kinds), r);
}

void verdict_heard(struct verdict *v)
{
    if (v->o->silence)
        v->heard = loop_now(v->loop);
}

void verdict_log(struct verdict *v, const char *line)
{
    verdict_heard(v);
    if (line[strspn(line, " \t")])
        snprintf(v->last_line, sizeof v->last_line, "%s", line);
    if (v->config.symbols)
        symbols_learn_line(v->config.symbols, line);
    klog_line(&v->klog, line);
    ktap_line(&v->log, line);
}

void verdict_output(struct verdict *v, const void *bytes, size_t n)
{
    verdict_heard(v);
    ktap_feed(&v->output, bytes, n);
}

static void on_silence(void *arg)
{
    struct verdict *v = arg;
    if (loop_now(v->loop) - v->heard >= v->o->silence)
        v->config.silent(v->config.ctx);
    else
        loop_timer_set(&v->silence, v->heard + v->o->silence);
}

/* ---- the ends */

void verdict_free(struct verdict *v)
{
    while (v->n_allow)
        regfree(&v->allow[--v->n_allow]);
    for (unsigned i = 0; i < REPORTS_KEPT; i++)
        free(v->reports[i]);
    free(v->allow);
    while (v->n_waiting)
        free(v->waiting[--v->n_waiting].text);
    ktap_free(v->ktap);
    free(v);
}

struct verdict *verdict_new(const struct verdict_config *config)
{
    const struct machine_options *o = config->options;
    struct loop *loop = config->loop;
    struct verdict *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    *v = (struct verdict){.config = *config, .o = o, .gate = config->gate, .loop = loop};
    v->allow = calloc(o->allow.n + 1, sizeof *v->allow);
    v->ktap = ktap_new();
    if (!v->allow || !v->ktap || compile(o, v->allow)) {
        verdict_free(v);
        return NULL;
    }
    v->n_allow = o->allow.n;
    klog_init(&v->klog, on_report, v);
    ktap_reader_init(&v->log, v->ktap);
    ktap_reader_init(&v->output, v->ktap);
    loop_timer_init(loop, &v->silence, on_silence, v);
    loop_task_init(loop, &v->tell, tell_waiting, v);
    v->heard = loop_now(loop);
    if (o->silence)
        loop_timer_after(&v->silence, o->silence);
    return v;
}

static bool any_test(const struct result *r)
{
    return r->passed || r->failed || r->skipped;
}

void verdict_end(struct verdict *v, struct result *r)
{
    loop_timer_cancel(&v->silence);
    klog_end(&v->klog);
    tell_waiting(v);
    ktap_end(&v->log);
    ktap_end(&v->output);
    r->warnings = v->n_reports;
    snprintf(r->last_line, sizeof r->last_line, "%s", v->last_line);
    log_clean(r->last_line, strlen(r->last_line));
    r->tested = ktap_any(v->ktap);
    r->passed = ktap_count(v->ktap, KTAP_PASSED);
    r->failed = ktap_count(v->ktap, KTAP_FAILED);
    r->skipped = ktap_count(v->ktap, KTAP_SKIPPED);
    char sentence[160] = "tests: " NO_TEST;
    if (r->failed)
        snprintf(sentence, sizeof sentence, "tests: %u failed", r->failed);
    /* Who asks for tests is not to take their absence for success; what failed by itself says more. */
    if (r->failed || (!any_test(r) && result_status(r) == 0))
        gate_catch(v->gate, GATE_TESTS, sentence);
}

static const char *path_of(const struct verdict *v, const struct ktap_result *t)
{
    const char *path = ktap_text(v->ktap, t->path);
    return *path ? path : "tests";
}

static void write_junit(const struct verdict *v, const struct result *r, FILE *f)
{
    static const enum junit_status statuses[] = {
        [KTAP_PASSED] = JUNIT_PASSED, [KTAP_FAILED] = JUNIT_FAILED, [KTAP_SKIPPED] = JUNIT_SKIPPED};
    bool well = result_status(r) == 0;
    struct junit_totals totals = {.seconds = (double)r->time_ms / 1e3, .tests = 2};
    uint32_t n = ktap_listed(v->ktap);
    for (uint32_t i = 0; i < n; i++) {
        const struct ktap_result *t = ktap_result(v->ktap, i);
        totals.tests += t->leaf;
        totals.failures += t->leaf && t->status == KTAP_FAILED;
        totals.skipped += t->leaf && t->status == KTAP_SKIPPED;
    }
    totals.failures += !well + (v->n_reports > 0);
    junit_begin(f, v->o->name ? v->o->name : "vmlet", &totals);
    char why[640];
    snprintf(why, sizeof why, "status %d, %s%s%s", result_status(r), end_reason_name(r->reason),
             r->detail[0] ? ": " : "", r->detail);
    junit_case(f, "vmlet", "run", well ? JUNIT_PASSED : JUNIT_FAILED, why, r->last_line, totals.seconds);
    char *text = NULL;
    size_t size;
    FILE *all = open_memstream(&text, &size);
    for (unsigned i = 0; all && i < v->n_reports && i < REPORTS_KEPT; i++) {
        naming_print(v->config.symbols, v->reports[i] ? v->reports[i] : "", all);
        fputc('\n', all);
    }
    if (all)
        fclose(all);
    snprintf(why, sizeof why, "%u reports of trouble", v->n_reports);
    junit_case(f, "vmlet", "kernel log", v->n_reports ? JUNIT_FAILED : JUNIT_PASSED, why, text ? text : "",
               -1);
    free(text);
    for (uint32_t i = 0; i < n; i++) {
        const struct ktap_result *t = ktap_result(v->ktap, i);
        if (t->leaf)
            junit_case(f, path_of(v, t), ktap_text(v->ktap, t->name), statuses[t->status],
                       ktap_text(v->ktap, t->reason), ktap_text(v->ktap, t->log), -1);
    }
    junit_end(f);
}

const char *verdict_report(struct verdict *v, const struct result *r, uint64_t patience)
{
    if (r->tested) { /* not trouble of the host's, but what the user waits for */
        unsigned told = 0;
        warn("tests: %u passed, %u failed, %u skipped", r->passed, r->failed, r->skipped);
        for (uint32_t i = 0; i < ktap_listed(v->ktap) && told < FAILED_TOLD; i++) {
            const struct ktap_result *t = ktap_result(v->ktap, i);
            if (!t->leaf || t->status != KTAP_FAILED)
                continue;
            warn("  failed: %s: %s", path_of(v, t), ktap_text(v->ktap, t->name));
            told++;
        }
    }
    if (r->reason == END_GATE && v->gate->on >> GATE_TESTS & 1 && !any_test(r))
        warn("gate: tests: %s", NO_TEST);
    if (!v->o->junit)
        return NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return "--junit: out of memory";
    write_junit(v, r, f);
    bool lost = ferror(f);
    lost |= fclose(f) != 0;
    const char *error =
        lost ? "--junit: out of memory" : report_file_write("--junit", v->o->junit, text, size, patience);
    free(text);
    return error;
}
