// SPDX-License-Identifier: MIT
/* Option tables as a manual page and as words for a shell's completion: include/kvm/host/opts.h. */
#include "kvm/host/opts.h"

#include "kvm/host/opts_priv.h"

void opts_man_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++)
        switch (*text) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '`': /* the help's quotes */
            fputs("\\(oq", out);
            break;
        default:
            fputc(*text, out);
        }
}

void opts_man(FILE *out, const struct opt *table)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        if (o->type == OPT_TYPE_GROUP) {
            fputs(".SS ", out);
            opts_man_text(out, o->name);
            fputc('\n', out);
        }
        if (!opts_listed(o))
            continue;
        fputs(".TP\n", out);
        if (o->letter)
            fprintf(out, "\\fB\\-%c\\fR", o->letter);
        if (o->name) {
            fprintf(out, "%s\\fB\\-\\-", o->letter ? ", " : "");
            opts_man_text(out, o->name);
            fputs("\\fR", out);
        }
        if (o->type != OPT_TYPE_FLAG) {
            fputs(" \\fI", out);
            opts_man_text(out, opts_value_name(o));
            fputs("\\fR", out);
        }
        fputc('\n', out);
        opts_man_text(out, o->help ? o->help : "");
        if (o->dflt) {
            fputs(" (default ", out);
            opts_man_text(out, o->dflt);
            fputc(')', out);
        }
        fputc('\n', out);
    }
}

void opts_completion(FILE *out, const struct opt *table)
{
    fputs("        case $prev in\n", out);
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        if (!opts_listed(o) || o->type != OPT_TYPE_ENUM)
            continue;
        fprintf(out, "        --%s) words='", o->name);
        for (const struct opt_word *w = o->words; w->word; w++)
            if (!w->refuse)
                fprintf(out, "%s ", w->word);
        fputs("' ;;\n", out);
    }
    fputs("        esac\n        [ -n \"$words\" ] || case $cur in -*) words='", out);
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++)
        if (opts_listed(o) && o->name)
            fprintf(out, "--%s ", o->name);
    fputs("' ;; esac\n", out);
}
