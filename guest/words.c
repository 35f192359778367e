// SPDX-License-Identifier: MIT
/* Lines and words: see include/guest/words.h. Words only become shorter by being read, so that they fit a copy of the line. */
#include "guest/words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *at, *end;
    char *out;
    char **words;
    int n;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool one_of(const char *set, char c)
{
    return c && strchr(set, c);
}

/* After an opening quote; up to the closing one. */
static const char *quoted(struct reader *r, char quote)
{
    for (; r->at < r->end && *r->at != quote; r->at++) {
        if (quote == '"' && one_of("$`", *r->at))
            return "$ and ` are for a shell (write '…' or a backslash)";
        if (quote == '"' && *r->at == '\\' && r->end - r->at > 1 && one_of("\"\\$`", r->at[1]))
            r->at++;
        *r->out++ = *r->at;
    }
    if (r->at == r->end)
        return quote == '"' ? "a \" is not closed (a command is one line)"
                            : "a ' is not closed (a command is one line)";
    r->at++;
    return NULL;
}

static const char *word(struct reader *r)
{
    const char *error = NULL;
    if (*r->at == '~')
        return "~ is for a shell (write the folder's name, or '~')";
    while (!error && r->at < r->end && !blank(*r->at)) {
        char c = *r->at++;
        if (c == '\'' || c == '"')
            error = quoted(r, c);
        else if (c == '\\' && r->at == r->end)
            error = "a backslash at the end (a command is one line)";
        else if (one_of("|&;<>()$`", c))
            error = "| & ; < > ( ) $ ` are for a shell (quote them)";
        else
            *r->out++ = c == '\\' ? *r->at++ : c;
    }
    *r->out++ = 0;
    return error;
}

const char *words_split(const char *line, size_t n, char ***words, int *n_words)
{
    if (n && line[n - 1] == '\r')
        n--;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
            return "it has a control character";
    /* Every second byte may be a word; each has a pointer and an end. */
    size_t most = n / 2 + 1;
    char **list = malloc((most + 1) * sizeof *list + n + most);
    if (!list)
        return "out of memory";
    struct reader r = {.at = line, .end = line + n, .out = (char *)(list + most + 1), .words = list};
    const char *error = NULL;
    while (!error) {
        while (r.at < r.end && blank(*r.at))
            r.at++;
        if (r.at == r.end || *r.at == '#')
            break;
        list[r.n++] = r.out;
        error = word(&r);
    }
    if (error) {
        free(list);
        return error;
    }
    list[r.n] = NULL;
    *words = list;
    *n_words = r.n;
    return NULL;
}

static void print_word(FILE *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    if (*text && strspn(text, plain) == strlen(text)) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    fputc('\'', out);
}

void words_print(FILE *out, char *const *words, int n_words)
{
    for (int i = 0; i < n_words; i++) {
        if (i)
            fputc(' ', out);
        print_word(out, words[i]);
    }
}
