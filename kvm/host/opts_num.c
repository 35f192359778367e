// SPDX-License-Identifier: MIT
/* Numbers, sizes and times as option values; see include/kvm/host/opts.h. All go through one reader, digits[.digits]unit,
 * that computes in 128 bits and refuses what does not fit or is no whole number of the smallest unit. Nothing of
 * strtoul's leniency is wanted: no sign, no blank, no octal. */
#include "kvm/host/opts.h"

#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"B",  1         },
    {"K",  1ull << 10},
    {"M",  1ull << 20},
    {"G",  1ull << 30},
    {"T",  1ull << 40},
    {"P",  1ull << 50},
    {NULL, 0         },
};
static const struct unit time_units[] = {
    {"s",  1000000000ull       },
    {"ms", 1000000ull          },
    {"us", 1000ull             },
    {"ns", 1ull                },
    {"m",  60 * 1000000000ull  },
    {"h",  3600 * 1000000000ull},
    {NULL, 0                   },
};

enum result {
    READ_OK,
    READ_SYNTAX,
    READ_TOO_BIG,
    READ_NOT_WHOLE,
};

static enum result read_scaled(const char *s, const struct unit *units, uint64_t bare, uint64_t *value)
{
    const unsigned __int128 limit = UINT64_MAX;
    unsigned __int128 whole = 0, fraction = 0;
    uint64_t power = 1, factor = bare ? bare : 1;
    if (*s < '0' || *s > '9')
        return READ_SYNTAX;
    for (; *s >= '0' && *s <= '9'; s++)
        if (whole <= limit) /* stops growing once too big */
            whole = whole * 10 + (unsigned)(*s - '0');
    if (*s == '.') {
        if (*++s < '0' || *s > '9')
            return READ_SYNTAX;
        for (; *s >= '0' && *s <= '9'; s++) {
            if (power > 1000000000000000ull)
                return READ_NOT_WHOLE;
            fraction = fraction * 10 + (unsigned)(*s - '0');
            power *= 10;
        }
    }
    if (*s) {
        while (units->name && strcasecmp(units->name, s))
            units++;
        if (!units->name)
            return READ_SYNTAX;
        factor = units->factor;
    }
    if (whole > limit / factor)
        return READ_TOO_BIG;
    if (fraction * factor % power)
        return READ_NOT_WHOLE;
    whole = whole * factor + fraction * factor / power;
    if (whole > limit)
        return READ_TOO_BIG;
    *value = (uint64_t)whole;
    return READ_OK;
}

const char *opts_size(const char *text, uint64_t bare, uint64_t *bytes)
{
    switch (read_scaled(text, size_units, bare, bytes)) {
    case READ_OK:
        return NULL;
    case READ_TOO_BIG:
        return "too big";
    case READ_NOT_WHOLE:
        return "not a whole number of bytes";
    default:
        return "not a size (a number and one of B K M G T P, as in 512M)";
    }
}

const char *opts_time(const char *text, uint64_t *ns)
{
    switch (read_scaled(text, time_units, 1000000000ull, ns)) {
    case READ_OK:
        return NULL;
    case READ_TOO_BIG:
        return "too long";
    case READ_NOT_WHOLE:
        return "finer than a nanosecond";
    default:
        return "not a time (seconds, or a number and one of ns us ms s m h, as in 1.5 or 200ms)";
    }
}

const char *opts_u64(const char *text, uint64_t *value)
{
    const char *s = text;
    unsigned base = 10;
    uint64_t v = 0;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    if (!*s)
        return "not a number";
    for (; *s; s++) {
        unsigned digit = *s >= '0' && *s <= '9'   ? (unsigned)(*s - '0')
                         : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a') + 10
                         : *s >= 'A' && *s <= 'F' ? (unsigned)(*s - 'A') + 10
                                                  : 99;
        if (digit >= base)
            return "not a number";
        if (v > (UINT64_MAX - digit) / base)
            return "too big";
        v = v * base + digit;
    }
    *value = v;
    return NULL;
}
