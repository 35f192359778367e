/* SPDX-License-Identifier: MIT
 *
 * Several processes want one thing at once.
 */
#ifndef TESTS_UNIT_RACE_H
#define TESTS_UNIT_RACE_H

#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

struct race {
    pid_t pid[8];
    int n, hold;
};

/* n children try at the same moment, and each says how it went by a letter: 'w' it won, 'l' it lost; any other fails the
 * test. Returns how many won. They live on, and keep what they have, until race_end(). */
static inline int race(struct race *r, int n, char (*attempt)(void))
{
    int go[2], said[2], hold[2], won = 0;
    CHECK(!pipe(go) && !pipe(said) && !pipe(hold));
    fflush(stdout);
    for (r->n = 0; r->n < n; r->n++) {
        r->pid[r->n] = fork();
        if (!r->pid[r->n]) {
            char c;
            close(go[1]);
            close(hold[1]);
            if (read(go[0], &c, 1) < 0)
                _exit(9);
            c = attempt();
            _exit(write(said[1], &c, 1) < 0 || read(hold[0], &c, 1) < 0 ? 9 : 0);
        }
    }
    close(go[0]);
    close(go[1]); /* go */
    for (int i = 0; i < n; i++) {
        char c;
        CHECK(read(said[0], &c, 1) == 1);
        CHECK(c == 'w' || c == 'l');
        won += c == 'w';
    }
    close(said[0]);
    close(said[1]);
    close(hold[0]);
    r->hold = hold[1];
    return won;
}

static inline void race_end(struct race *r)
{
    close(r->hold);
    for (int i = 0; i < r->n; i++) {
        int status;
        CHECK(waitpid(r->pid[i], &status, 0) == r->pid[i] && WIFEXITED(status) && !WEXITSTATUS(status));
    }
}

#endif
