// SPDX-License-Identifier: MIT
/* Questions: what the stub can do, the target's description, threads, `monitor`. (Remote Serial Protocol, E.4 "General Query
 * Packets") */
#include "gdb_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINE = 1024, /* of monitor */
    PART = 4096, /* bytes of monitor's answer in a packet */
};

/* text begins with word; *rest is what follows. */
static bool starts(const char *text, const char *word, const char **rest)
{
    size_t n = strlen(word);
    if (strncmp(text, word, n))
        return false;
    *rest = text + n;
    return true;
}

static bool query_supported(struct gdb *gdb, const char *rest)
{
    gdb->says_soft = strstr(rest, "swbreak+") != NULL;
    gdb->says_hard = strstr(rest, "hwbreak+") != NULL;
    gdb_out_begin(&gdb->out);
    gdb_out_print(&gdb->out,
                  "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;vContSupported+;"
                  "swbreak+;hwbreak+",
                  GDB_PACKET);
    gdb_out_end(&gdb->out);
    return true;
}

/* --- qXfer: a text, made anew at each part's asking (it is small, and asked for once or twice) */

static void threads_xml(struct gdb *gdb, FILE *out)
{
    fputs("<?xml version=\"1.0\"?><threads>", out);
    for (unsigned i = 0; i < gdb->n_cpus; i++)
        fprintf(out, "<thread id=\"%x\" core=\"%u\" name=\"vCPU %u\">%s</thread>", i + 1, i, i,
                gdb->target->state(gdb->ctx, i));
    fputs("</threads>", out);
}

static bool query_xfer(struct gdb *gdb, const char *rest)
{
    bool threads = starts(rest, "threads:read::", &rest);
    uint64_t offset, len;
    char *text = NULL;
    size_t size = 0;
    if (!threads && !starts(rest, "features:read:target.xml:", &rest)) {
        gdb_reply(gdb, starts(rest, "features:read:", &rest) ? "E00" : "");
        return true;
    }
    if (!gdb_addr_len(&rest, &offset, &len, 0)) {
        gdb_reply(gdb, "E16");
        return true;
    }
    FILE *out = open_memstream(&text, &size);
    if (out) {
        if (threads)
            threads_xml(gdb, out);
        else
            gdb_arch_xml(gdb->arch, out);
        fclose(out);
    }
    if (!text) {
        gdb_reply(gdb, "E0c");
        return true;
    }
    offset = offset < size ? offset : size;
    len = len < size - offset ? len : size - offset;
    len = len < GDB_PACKET / 2 ? len : GDB_PACKET / 2;
    gdb_out_begin(&gdb->out);
    gdb_out_text(&gdb->out, offset + len < size ? "m" : "l");
    gdb_out_bytes(&gdb->out, text + offset, (size_t)len);
    gdb_out_end(&gdb->out);
    free(text);
    return true;
}

/* --- threads */

bool gdb_thread_id(const char **text, uint64_t *id)
{
    if (**text == '-') {
        if ((*text)[1] != '1')
            return false;
        *text += 2;
        *id = GDB_ALL;
        return true;
    }
    return gdb_number(text, id);
}

static bool query_threads(struct gdb *gdb, bool first)
{
    if (first)
        gdb->list_next = 0;
    gdb_out_begin(&gdb->out);
    gdb_out_text(&gdb->out, gdb->list_next < gdb->n_cpus ? "m" : "l");
    for (unsigned n = 0; gdb->list_next < gdb->n_cpus && n < 256; n++, gdb->list_next++)
        gdb_out_print(&gdb->out, n ? ",%x" : "%x", gdb->list_next + 1);
    gdb_out_end(&gdb->out);
    return true;
}

static bool query_thread_info(struct gdb *gdb, const char *rest)
{
    uint64_t id;
    char text[96];
    if (!gdb_thread_id(&rest, &id) || *rest || id - 1 >= gdb->n_cpus) {
        gdb_reply(gdb, "E16");
        return true;
    }
    int n = snprintf(text, sizeof text, "vCPU %u, %s", (unsigned)(id - 1),
                     gdb->target->state(gdb->ctx, (unsigned)(id - 1)));
    gdb_out_begin(&gdb->out);
    gdb_out_hex(&gdb->out, text, (size_t)n);
    gdb_out_end(&gdb->out);
    return true;
}

/* --- monitor: what the command says goes out as O packets, one at a time, then OK */

void gdb_monitor_more(struct gdb *gdb)
{
    size_t left = gdb->monitor_size - gdb->monitor_sent;
    if (!gdb->monitor)
        return;
    if (left == 0) {
        free(gdb->monitor);
        gdb->monitor = NULL;
        gdb_reply(gdb, "OK");
        return;
    }
    size_t n = left < PART ? left : PART;
    gdb_out_begin(&gdb->out);
    gdb_out_text(&gdb->out, "O");
    gdb_out_hex(&gdb->out, gdb->monitor + gdb->monitor_sent, n);
    gdb_out_end(&gdb->out);
    gdb->monitor_sent += n;
}

static bool query_command(struct gdb *gdb, const char *hex)
{
    char line[LINE + 1];
    size_t n;
    if (!gdb_unhex(hex, strlen(hex), line, LINE, &n) || memchr(line, 0, n)) {
        gdb_reply(gdb, "E16");
        return true;
    }
    line[n] = 0;
    free(gdb->monitor);
    gdb->monitor = NULL;
    gdb->monitor_size = gdb->monitor_sent = 0;
    FILE *out = open_memstream(&gdb->monitor, &gdb->monitor_size);
    if (!out) {
        gdb_reply(gdb, "E0c");
        return true;
    }
    const char *error = gdb->target->monitor(gdb->ctx, line, out);
    if (error)
        fprintf(out, "%s\n", error);
    fclose(out);
    gdb_monitor_more(gdb);
    if (!gdb->monitor && gdb->out.n == 0)
        gdb_reply(gdb, "E0c"); /* no memory for the answer */
    return true;
}

/* --- */

static bool start_no_ack(struct gdb *gdb)
{
    gdb_reply(gdb, "OK");
    gdb->no_ack = true;
    return true;
}

bool gdb_query(struct gdb *gdb, const char *text, size_t len)
{
    const char *rest;
    if (strlen(text) != len) /* a zero byte in it */
        return false;
    if (starts(text, "qSupported", &rest))
        return query_supported(gdb, rest);
    if (starts(text, "qXfer:", &rest))
        return query_xfer(gdb, rest);
    if (starts(text, "qRcmd,", &rest))
        return query_command(gdb, rest);
    if (starts(text, "qThreadExtraInfo,", &rest))
        return query_thread_info(gdb, rest);
    if (!strcmp(text, "QStartNoAckMode"))
        return start_no_ack(gdb);
    if (!strcmp(text, "qfThreadInfo"))
        return query_threads(gdb, true);
    if (!strcmp(text, "qsThreadInfo"))
        return query_threads(gdb, false);
    if (!strcmp(text, "qC")) {
        gdb_out_begin(&gdb->out);
        gdb_out_print(&gdb->out, "QC%x", gdb->cpu + 1);
        gdb_out_end(&gdb->out);
        return true;
    }
    if (starts(text, "qAttached", &rest)) { /* so `quit` detaches */
        gdb_reply(gdb, "1");
        return true;
    }
    return false;
}
