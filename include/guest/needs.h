/* SPDX-License-Identifier: MIT
 *
 * Which host files a program needs to run: its ELF interpreter and its libraries, theirs too, or for a script the
 * interpreter that its first line names, with all that this one needs. Found as ld.so does it (ld.so(8)): RPATH of the object
 * and of those that brought it in, RUNPATH, the folders of /etc/ld.so.conf, the default ones; from the ELF headers alone, nothing
 * of the program is run. What a program opens later by itself (dlopen, a language's modules) cannot be known: --add.
 *
 * Set-up only, any thread. Files are untrusted; a damaged one needs nothing (the guest's kernel will refuse it).
 */
#ifndef GUEST_NEEDS_H
#define GUEST_NEEDS_H

#include <stdbool.h>
#include <stddef.h>

struct needs {
    /* Absolute host paths, each also the path in the guest; no doubles. Programs come first (the program itself, a script's
     * interpreter): for these the path may be a symlink that has to be kept, as it decides what $ORIGIN is. */
    char **programs, **libraries;
    size_t n_programs, n_libraries;
    char **missing; /* names of libraries that are not on the host */
    size_t n_missing;
    bool by_cache; /* a library lies where only ld.so.cache leads to */
};

/* path is absolute. false: out of memory. */
bool needs_find(const char *path, struct needs *needs) __attribute__((warn_unused_result));
void needs_free(struct needs *needs);

/* Where a shell would find the command: name with a slash as it is, else through dirs (as in PATH); malloc()ed, absolute;
 * NULL if there is no executable file of that name. */
char *needs_which(const char *name, const char *dirs);

#endif
