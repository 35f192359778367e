// SPDX-License-Identifier: MIT
/* The parser behind include/kvm/host/opts.h. Every way in (command line, sub-options, one by name) ends in option_set(), which
 * knows the types; the rest is splitting words and saying what was wrong. What must outlive the parse is kept in one
 * list for the whole process: errors and values may then be passed about without an owner. */
#include "kvm/host/opts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- Memory -------------------------------------------------------------------------------------------------------- */

struct kept {
    struct kept *next;
    _Alignas(16) char data[];
};

static struct kept *kept_list;

void *opts_keep(size_t size)
{
    struct kept *k = calloc(1, sizeof *k + size);
    if (!k)
        return NULL;
    k->next = kept_list;
    kept_list = k;
    return k->data;
}

void opts_release(void)
{
    while (kept_list) {
        struct kept *k = kept_list;
        kept_list = k->next;
        free(k);
    }
}

static const char no_memory[] = "out of memory";

const char *opts_say(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *s = n < 0 ? NULL : opts_keep((size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return s ? s : no_memory;
}

/* --- One option ---------------------------------------------------------------------------------------------------- */

static bool is_option(const struct opt *o)
{
    return o->type != OPT_TYPE_GROUP;
}

static const struct opt *find(const struct opt *table, const char *name, size_t len)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++)
        if (is_option(o) && o->name && strlen(o->name) == len && !memcmp(o->name, name, len))
            return o;
    return NULL;
}

static const struct opt *find_letter(const struct opt *table, char letter)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++)
        if (is_option(o) && o->letter && o->letter == letter)
            return o;
    return NULL;
}

static const char *size_text(uint64_t n)
{
    static const char suffixes[] = "BKMGTP";
    unsigned i = 0;
    while (i < 5 && n && !(n & 1023)) {
        n >>= 10;
        i++;
    }
    return opts_say("%llu%c", (unsigned long long)n, suffixes[i]);
}

const char *opts_time_text(uint64_t ns)
{
    return ns % 1000000u      ? opts_say("%lluns", (unsigned long long)ns)
           : ns % 1000000000u ? opts_say("%llums", (unsigned long long)ns / 1000000u)
                              : opts_say("%llus", (unsigned long long)ns / 1000000000u);
}

static const char *range_text(const struct opt *o, uint64_t n)
{
    return o->type == OPT_TYPE_SIZE   ? size_text(n)
           : o->type == OPT_TYPE_TIME ? opts_time_text(n)
                                      : opts_say("%llu", (unsigned long long)n);
}

static const char *set_number(const struct opt *o, void *field, const char *value)
{
    uint64_t n = 0, max = o->max ? o->max : o->type == OPT_TYPE_U32 ? UINT32_MAX : UINT64_MAX;
    const char *error = o->type == OPT_TYPE_SIZE   ? opts_size(value, o->bare, &n)
                        : o->type == OPT_TYPE_TIME ? opts_time(value, &n)
                                                   : opts_u64(value, &n);
    if (error)
        return error;
    if (n > max || n < o->min) {
        if (!o->min)
            return opts_say("must be at most %s", range_text(o, max));
        if (!o->max)
            return opts_say("must be at least %s", range_text(o, o->min));
        return opts_say("must be %s to %s", range_text(o, o->min), range_text(o, max));
    }
    if (o->type == OPT_TYPE_U32)
        *(uint32_t *)field = (uint32_t)n;
    else
        *(uint64_t *)field = n;
    return NULL;
}

static const char *set_flag(bool *field, const char *value)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
    for (size_t i = 0; value && i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(value, words[i])) {
            *field = i & 1;
            return NULL;
        }
    if (value)
        return "must be on or off";
    *field = true;
    return NULL;
}

static const char *set_enum(const struct opt *o, void *field, const char *value)
{
    const char *known = "";
    for (const struct opt_word *w = o->words; w->word; w++) {
        if (!strcmp(w->word, value)) {
            if (w->refuse)
                return w->refuse;
            memcpy(field, &w->value, sizeof w->value);
            return NULL;
        }
        if (!w->refuse)
            known = opts_say("%s%s%s", known, *known ? ", " : "", w->word);
    }
    return opts_say("must be one of %s", known);
}

static const char *list_add(struct opt_list *list, const char *value)
{
    if (!(list->n & (list->n - 1))) { /* full at each power of two */
        const char **v = opts_keep(((list->n ? 2 * list->n : 1) + 1) * sizeof *v);
        if (!v)
            return no_memory;
        if (list->n)
            memcpy(v, list->v, list->n * sizeof *v);
        list->v = v;
    }
    list->v[list->n++] = value;
    list->v[list->n] = NULL;
    return NULL;
}

/* value NULL: none was given; only flags may come so. Returns the bare reason. */
static const char *option_set(const struct opt *o, void *out, const char *value)
{
    void *field = (char *)out + o->offset;
    if (o->type == OPT_TYPE_FLAG)
        return set_flag(field, value);
    if (!value)
        return opts_say("needs a value%s%s%s", o->arg ? " (" : "", o->arg ? o->arg : "", o->arg ? ")" : "");
    switch ((enum opt_type)o->type) {
    case OPT_TYPE_STRING:
        *(const char **)field = value;
        return NULL;
    case OPT_TYPE_JOIN: {
        const char **s = field;
        *s = *s && **s ? opts_say("%s %s", *s, value) : value;
        return NULL;
    }
    case OPT_TYPE_LIST:
        return list_add(field, value);
    case OPT_TYPE_ENUM:
        return set_enum(o, field, value);
    case OPT_TYPE_CALL:
        return o->call(out, o, value);
    default:
        return set_number(o, field, value);
    }
}

void opts_preset(const struct opt *table, void *out)
{
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++)
        if (o->flags & OPT_PRESET && option_set(o, out, o->dflt))
            assert(!"a default that is not one of the option's values");
}

/* --- Names that nobody knows --------------------------------------------------------------------------------------- */

/* Edits between two short words, more than 3 counting as 4. */
static unsigned distance(const char *a, const char *b)
{
    enum {
        WORD = 32
    };
    unsigned row[WORD + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD || m > WORD)
        return 4;
    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m] > 3 ? 4 : row[m];
}

/* What slips have to be below. */
static unsigned too_far(const char *typed)
{
    return strlen(typed) > 4 ? 3 : 2;
}

static bool begins(const char *typed, const char *known)
{
    return strlen(typed) > 2 && !strncmp(known, typed, strlen(typed));
}

bool opts_slip(const char *typed, const char *known)
{
    return begins(typed, known) || distance(typed, known) < too_far(typed);
}

static const char *nearest(const struct opt *table, const char *name)
{
    const char *best = NULL;
    unsigned best_distance = too_far(name);
    for (const struct opt *o = table; o->type != OPT_TYPE_END; o++) {
        if (!is_option(o) || !o->name || (o->flags & OPT_HIDDEN) || o->type == OPT_TYPE_REFUSED)
            continue;
        if (begins(name, o->name))
            return o->name;
        unsigned d = distance(name, o->name);
        if (d < best_distance) {
            best = o->name;
            best_distance = d;
        }
    }
    return best;
}

static const char *unknown_key(const struct opt_target *targets, size_t n, const char *label, const char *key)
{
    const char *known = "", *near = NULL;
    for (size_t i = 0; i < n && !near; i++)
        near = nearest(targets[i].table, key);
    if (near)
        return opts_say("%s: %s: no such key (did you mean %s?)", label, key, near);
    for (size_t i = 0; i < n; i++)
        for (const struct opt *o = targets[i].table; o->type != OPT_TYPE_END; o++)
            if (is_option(o) && o->type != OPT_TYPE_REFUSED && !(o->flags & OPT_HIDDEN))
                known = opts_say("%s%s%s", known, *known ? ", " : "", o->name);
    return opts_say("%s: %s: no such key (known: %s)", label, key, *known ? known : "none");
}

/* --- The command line ---------------------------------------------------------------------------------------------- */

struct words {
    int argc, at;
    char **argv;
};

/* The word after the current one, or NULL; "--" is never a value. */
static const char *next_value(struct words *w)
{
    if (w->at + 1 >= w->argc || !strcmp(w->argv[w->at + 1], "--"))
        return NULL;
    return w->argv[++w->at];
}

/* typed: as the user wrote it, for the error. */
static const char *apply(const struct opt *o, const char *typed, const char *value, void *out)
{
    if (o->type == OPT_TYPE_REFUSED)
        return opts_say("%s: %s", typed, o->help);
    const char *error = option_set(o, out, value);
    if (!error)
        return NULL;
    return value ? opts_say("%s %s: %s", typed, value, error) : opts_say("%s: %s", typed, error);
}

static bool takes_value(const struct opt *o)
{
    return o->type != OPT_TYPE_FLAG && o->type != OPT_TYPE_REFUSED;
}

static const char *parse_long(const struct opt *table, struct words *w, void *out)
{
    const char *word = w->argv[w->at] + 2, *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const char *name = opts_say("%.*s", (int)len, word);
    const struct opt *o = find(table, word, len);
    if (!o && len > 3 && !memcmp(word, "no-", 3) && !equals) {
        o = find(table, word + 3, len - 3);
        if (o && o->type == OPT_TYPE_FLAG) {
            *(bool *)((char *)out + o->offset) = false;
            return NULL;
        }
        o = NULL;
    }
    if (!o) {
        const char *near = nearest(table, name);
        return near ? opts_say("--%s: no such option (did you mean --%s?)", name, near)
                    : opts_say("--%s: no such option", name);
    }
    const char *value = equals ? equals + 1 : takes_value(o) ? next_value(w) : NULL;
    return apply(o, opts_say("--%s", name), value, out);
}

static const char *parse_letters(const struct opt *table, struct words *w, void *out)
{
    const char *s = w->argv[w->at] + 1;
    /* QEMU's fingers: -kernel is no -k with the value "ernel". */
    const struct opt *whole = s[1] ? find(table, s, strlen(s)) : NULL;
    if (whole && whole->type == OPT_TYPE_REFUSED)
        return apply(whole, opts_say("-%s", s), NULL, out);
    if (whole)
        return opts_say("-%s: long options have two dashes (--%s)", s, s);
    for (; *s; s++) {
        const struct opt *o = find_letter(table, *s);
        const char *typed = opts_say("-%c", *s);
        if (!o)
            return opts_say("%s: no such option", typed);
        if (!takes_value(o)) {
            const char *error = apply(o, typed, NULL, out);
            if (error)
                return error;
            continue;
        }
        return apply(o, typed, s[1] ? s + 1 : next_value(w), out);
    }
    return NULL;
}

const char *opts_parse(const struct opt *table, int argc, char **argv, void *out, struct opts_rest *rest)
{
    struct words w = {.argc = argc, .argv = argv};
    *rest = (struct opts_rest){.words = opts_keep(((size_t)(argc > 0 ? argc : 0) + 1) * sizeof *rest->words)};
    if (!rest->words)
        return no_memory;
    for (; w.at < argc; w.at++) {
        const char *word = argv[w.at], *error = NULL;
        if (!strcmp(word, "--")) {
            rest->command = argv + w.at + 1;
            rest->n_command = argc - w.at - 1;
            break;
        }
        if (word[0] == '-' && word[1] == '-')
            error = parse_long(table, &w, out);
        else if (word[0] == '-' && word[1])
            error = parse_letters(table, &w, out);
        else
            rest->words[rest->n_words++] = word;
        if (error)
            return error;
    }
    return NULL;
}

/* -xj4 without j is -x: the letters before the one that takes a value stay. NULL: no letter stays. The value that is the next word
 * is passed over; *value: it stays too. */
static const char *inner_letters(const struct opt *table, struct words *w, const char **value)
{
    const char *word = w->argv[w->at], *s = word + 1;
    char *left = opts_keep(strlen(word) + 1), *to = left;
    if (!left)
        return word;
    for (*to++ = '-'; *s; s++) {
        const struct opt *o = find_letter(table, *s);
        bool outer = o && o->flags & OPT_OUTER;
        if (!outer)
            *to++ = *s;
        if (!o || !takes_value(o))
            continue;
        const char *next = s[1] ? NULL : next_value(w);
        if (!outer) {
            strcpy(to, s + 1);
            *value = next;
            return left;
        }
        break;
    }
    return to > left + 1 ? left : NULL;
}

char **opts_inner(const struct opt *table, int argc, char **argv, int *n)
{
    struct words w = {.argc = argc, .argv = argv};
    char **left = opts_keep(((size_t)argc + 1) * sizeof *left);
    for (*n = 0; left && w.at < argc && strcmp(argv[w.at], "--"); w.at++) {
        const char *word = argv[w.at], *value = NULL;
        if (word[0] == '-' && word[1] == '-') {
            size_t len = strcspn(word + 2, "=");
            const struct opt *o = find(table, word + 2, len);
            const struct opt *flag = !o && !strncmp(word, "--no-", 5) ? find(table, word + 5, len - 3) : o;
            if (o && takes_value(o) && !word[2 + len])
                value = next_value(&w);
            word = flag && flag->flags & OPT_OUTER ? NULL : word;
        } else if (word[0] == '-' && word[1]) {
            word = inner_letters(table, &w, &value);
        }
        if (!word)
            continue;
        left[(*n)++] = (char *)(uintptr_t)word;
        if (value)
            left[(*n)++] = (char *)(uintptr_t)value;
    }
    while (left && w.at < argc)
        left[(*n)++] = argv[w.at++];
    return left;
}

/* --- Sub-options --------------------------------------------------------------------------------------------------- */

/* Takes the first element off `text` into `element` (room for all of text), with `,,` as one comma. Returns what follows
 * its comma, or NULL when it was the last. */
static const char *split(const char *text, char *element)
{
    for (; *text; text++) {
        if (*text == ',') {
            if (text[1] != ',')
                break;
            text++;
        }
        *element++ = *text;
    }
    *element = 0;
    return *text ? text + 1 : NULL;
}

const char *opts_first(const char *text, const char **rest)
{
    char *element = opts_keep(strlen(text) + 1);
    const char *after = element ? split(text, element) : NULL;
    if (rest)
        *rest = after ? after : "";
    return element ? element : "";
}

static size_t table_size(const struct opt *table)
{
    size_t n = 0;
    while (table[n].type != OPT_TYPE_END)
        n++;
    return n;
}

static const struct opt *first_of(const struct opt *table)
{
    for (; table->type != OPT_TYPE_END; table++)
        if (table->flags & OPT_FIRST)
            return table;
    return NULL;
}

/* One `key`, `key=value`, or (bare) the first element of a table with OPT_FIRST. given[i]: what targets[i] had. */
static const char *set_element(const struct opt_target *targets, size_t n, bool **given, const char *label,
                               char *element, const struct opt *bare)
{
    const struct opt *o = bare;
    const char *value = element, *typed = element;
    size_t t = 0;
    if (!o) {
        char *equals = strchr(element, '=');
        size_t len = equals ? (size_t)(equals - element) : strlen(element);
        if (!len)
            return opts_say("%s: a key is missing%s (a comma within a value is written ,,)", label,
                            equals ? " before =" : " at a comma");
        for (t = 0; t < n && !o; t++)
            o = find(targets[t].table, element, len);
        if (!o)
            return unknown_key(targets, n, label, opts_say("%.*s", (int)len, element));
        t--;
        value = equals ? equals + 1 : NULL;
    }
    if (o->type == OPT_TYPE_REFUSED)
        return opts_say("%s: %s: %s", label, typed, o->help);
    bool *seen = &given[t][o - targets[t].table];
    if (*seen && o->type != OPT_TYPE_LIST && o->type != OPT_TYPE_JOIN && o->type != OPT_TYPE_CALL)
        return opts_say("%s: %s: given twice", label, o->name);
    *seen = true;
    const char *error = option_set(o, targets[t].out, value);
    return error ? opts_say("%s: %s: %s", label, typed, error) : NULL;
}

const char *opts_sub_into(const struct opt_target *targets, size_t n, const char *label, const char *text)
{
    bool **given = opts_keep(n * sizeof *given);
    if (!given)
        return no_memory;
    for (size_t i = 0; i < n; i++)
        if (!(given[i] = opts_keep(table_size(targets[i].table) + 1)))
            return no_memory;

    const struct opt *bare = n ? first_of(targets[0].table) : NULL;
    const char *error = NULL;
    for (const char *rest = text && *text ? text : NULL; rest && !error; bare = NULL) {
        char *element = opts_keep(strlen(rest) + 1);
        if (!element)
            return no_memory;
        rest = split(rest, element);
        if (bare && !*element)
            return opts_say("%s: needs a value%s%s", label, bare->arg ? ": " : "",
                            bare->arg ? bare->arg : "");
        error = set_element(targets, n, given, label, element, bare);
    }
    for (size_t i = 0; i < n && !error; i++)
        for (const struct opt *o = targets[i].table; o->type != OPT_TYPE_END && !error; o++)
            if ((o->flags & OPT_NEEDED) && !given[i][o - targets[i].table])
                error = o->flags & OPT_FIRST ? opts_say("%s: needs a value%s%s", label, o->arg ? ": " : "",
                                                        o->arg ? o->arg : "")
                                             : opts_say("%s: %s= must be given", label, o->name);
    return error;
}

const char *opts_sub(const struct opt *table, const char *label, const char *text, void *out)
{
    return opts_sub_into(&(struct opt_target){table, out}, 1, label, text);
}
