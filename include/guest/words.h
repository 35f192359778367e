/* SPDX-License-Identifier: MIT
 *
 * A line of a batch file as words, and words as a line that a shell reads back the same.
 *
 * The line is the part of the shell's language that says words: blanks between them, '…', "…" (in which \ stands before " \ $ and
 * `), \ before anything, # at the beginning of a word for a comment. What would make a shell do something (| & ; < > ( ) $ `,
 * ~ at the beginning of a word) is refused unless it is quoted: so a line means the same when it is pasted into a shell, but
 * for the patterns * ? [, which are taken as they stand. A line is a whole command: neither a quote nor a backslash reaches
 * into the next one. Control characters other than the tab are refused.
 *
 * Any thread; nothing is kept. Source: POSIX.1-2017, Shell Command Language, 2.2 and 2.3.
 */
#ifndef GUEST_WORDS_H
#define GUEST_WORDS_H

#include <stddef.h>
#include <stdio.h>

/* n bytes, without their line end. NULL: *words are *n_words strings with a NULL behind, for one free(); none for a blank line
 * or a comment. Else a sentence (a constant) and nothing to free. */
const char *words_split(const char *line, size_t n, char ***words, int *n_words)
    __attribute__((warn_unused_result));

/* With blanks between, and quotes where a shell needs them. */
void words_print(FILE *out, char *const *words, int n_words);

#endif
