/* SPDX-License-Identifier: MIT
 *
 * What tests of folders ask of the host: how much is in one, and that nothing is left of it.
 */
#ifndef TESTS_UNIT_FILES_H
#define TESTS_UNIT_FILES_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>

#include "test.h"

/* Entries of a folder, "." and ".." among them; "/proc/self/fd" has one more, its own. */
static inline unsigned files_in(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    CHECK(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline int files_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* The folder and all below it, but nothing that is mounted there. */
static inline void files_remove(const char *dir)
{
    nftw(dir, files_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

#endif
