// SPDX-License-Identifier: MIT
/* Option tables as help: include/kvm/host/opts.h. Two columns, the right one filled to 80 characters. */
#include "kvm/host/opts.h"

#include "kvm/host/opts_priv.h"

#include <string.h>

enum {
    LEFT = 28, /* where the texts begin */
    WIDTH = 80,
};

void opts_help_text(FILE *out, int at, const char *text)
{
    if (at > LEFT - 2) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", LEFT - at, "");
    at = LEFT;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (at > LEFT && at + 1 + (int)len > WIDTH) {
            fprintf(out, "\n%*s", LEFT, "");
            at = LEFT;
        }
        at += fprintf(out, "%s%.*s", at > LEFT ? " " : "", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

const char *opts_value_name(const struct opt *o)
{
    if (o->arg)
        return o->arg;
    if (o->type != OPT_TYPE_ENUM)
        return "VALUE";
    const char *all = "";
    for (const struct opt_word *w = o->words; w->word; w++)
        if (!w->refuse)
            all = opts_say("%s%s%s", all, *all ? "|" : "", w->word);
    return all;
}

static void put_help(FILE *out, int at, const struct opt *o)
{
    const char *help = o->help ? o->help : "";
    opts_help_text(out, at, o->dflt ? opts_say("%s (default %s)", help, o->dflt) : help);
}

bool opts_listed(const struct opt *o)
{
    return o->type != OPT_TYPE_GROUP && o->type != OPT_TYPE_REFUSED && !(o->flags & OPT_HIDDEN);
}

void opts_help(FILE *out, const struct opt *table)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        if (o->type == OPT_TYPE_GROUP) {
            fprintf(out, "%s%s:\n", o == table ? "" : "\n", o->name);
        } else if (opts_listed(o)) {
            int at = o->letter ? fprintf(out, "  -%c", o->letter) : fprintf(out, "    ");
            if (o->name)
                at += fprintf(out, "%s --%s", o->letter ? "," : " ", o->name);
            if (o->type != OPT_TYPE_FLAG)
                at += fprintf(out, " %s", opts_value_name(o));
            put_help(out, at, o);
        }
    }
}

void opts_sub_help(FILE *out, const struct opt *table)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        int at;
        if (!opts_listed(o))
            continue;
        if (o->flags & OPT_FIRST)
            at = fprintf(out, "  %s", opts_value_name(o));
        else if (o->type == OPT_TYPE_FLAG)
            at = fprintf(out, "  %s[=on|off]", o->name);
        else
            at = fprintf(out, "  %s=%s", o->name, opts_value_name(o));
        put_help(out, at, o);
    }
}

static void put_value(FILE *out, const struct opt *o, const void *field)
{
    const char *text = NULL;
    const struct opt_list *list = field;
    switch (o->type) {
    case OPT_TYPE_FLAG:
        text = *(const bool *)field ? "on" : "off";
        break;
    case OPT_TYPE_STRING:
    case OPT_TYPE_JOIN:
        text = *(const char *const *)field;
        text = text ? text : "(not given)";
        break;
    case OPT_TYPE_ENUM:
        for (const struct opt_word *w = o->words; w->word && !text; w++)
            text = w->value == *(const int *)field && !w->refuse ? w->word : NULL;
        break;
    case OPT_TYPE_LIST:
        for (size_t i = 0; i < list->n; i++)
            fprintf(out, i ? " %s" : "%s", list->v[i]);
        break;
    case OPT_TYPE_TIME:
        fprintf(out, "%.10g s", (double)*(const uint64_t *)field / 1e9);
        break;
    case OPT_TYPE_U32:
        fprintf(out, "%u (0x%x)", *(const uint32_t *)field, *(const uint32_t *)field);
        break;
    case OPT_TYPE_SIZE:
    case OPT_TYPE_U64:
        fprintf(out, "%llu (0x%llx)", (unsigned long long)*(const uint64_t *)field,
                (unsigned long long)*(const uint64_t *)field);
        break;
    }
    if (text)
        fputs(text, out);
}

void opts_values(FILE *out, const struct opt *table, const void *filled, int indent)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        if (o->type == OPT_TYPE_GROUP || o->type == OPT_TYPE_CALL || o->type == OPT_TYPE_REFUSED)
            continue;
        fprintf(out, "%*s%s = ", indent, "", o->name);
        put_value(out, o, (const char *)filled + o->offset);
        fputc('\n', out);
    }
}
