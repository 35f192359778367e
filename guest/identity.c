// SPDX-License-Identifier: MIT
/* Who the guest's command is: see include/guest/identity.h. */
#include "guest/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list with room for one more is kept NULL-terminated. */
struct list {
    char **v;
    size_t n;
    bool lost; /* no memory */
};

/* Sets the variable; takes the string, NULL if there was no memory for it. */
static void set(struct list *l, char *text)
{
    char **v = text ? realloc(l->v, (l->n + 2) * sizeof *v) : NULL;
    if (!v) {
        free(text);
        l->lost = true;
        return;
    }
    l->v = v;
    size_t name = strcspn(text, "=") + 1, i = 0;
    while (i < l->n && strncmp(v[i], text, name) != 0)
        i++;
    if (i < l->n)
        free(v[i]);
    else
        v[++l->n] = NULL;
    v[i] = text;
}

static void set_value(struct list *l, const char *name, const char *value)
{
    char *text;
    set(l, asprintf(&text, "%s=%s", name, value) < 0 ? NULL : text);
}

static bool number(const char *s, uint32_t *value)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || errno || n >= UINT32_MAX) /* -1 is "no change" */
        return false;
    *value = (uint32_t)n;
    return true;
}

/* Whether the file has that name, or with name NULL that uid; fills in the rest of what it says. */
static bool find_user(const char *file, const char *name, struct identity *id, char *shown, size_t size)
{
    FILE *f = fopen(file, "re");
    bool found = false;
    for (struct passwd *p; f && !found && (p = fgetpwent(f));)
        if (name ? !strcmp(p->pw_name, name) : p->pw_uid == id->uid) {
            id->uid = p->pw_uid;
            id->gid = p->pw_gid;
            snprintf(shown, size, "%s", p->pw_name);
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

static bool find_group(const char *file, const char *name, uint32_t *gid)
{
    FILE *f = fopen(file, "re");
    bool found = false;
    for (struct group *g; f && !found && (g = fgetgrent(f));)
        if (!strcmp(g->gr_name, name)) {
            *gid = g->gr_gid;
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

/* "NAME|UID[:GROUP|GID]"; shown: what USER says. */
static bool parse_user(const char *text, const char *passwd, const char *group, struct identity *id,
                       char *shown, size_t size, char *err, size_t err_size)
{
    char user[256];
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    if (n == 0 || n >= sizeof user || (colon && !colon[1])) {
        snprintf(err, err_size, "--user %s: NAME or UID, and perhaps :GROUP or :GID", text);
        return false;
    }
    memcpy(user, text, n);
    user[n] = 0;
    snprintf(shown, size, "%s", user);
    if (number(user, &id->uid)) {
        id->gid = id->uid;
        find_user(passwd, NULL, id, shown, size);
    } else if (!find_user(passwd, user, id, shown, size)) {
        snprintf(err, err_size, "--user %s: no such user in %s (a number needs no entry)", user, passwd);
        return false;
    }
    if (colon && !number(colon + 1, &id->gid) && !find_group(group, colon + 1, &id->gid)) {
        snprintf(err, err_size, "--user %s: no such group in %s (a number needs no entry)", text, group);
        return false;
    }
    return true;
}

void identity_free(struct identity *identity)
{
    for (char *const *v = identity->env; v && *v; v++)
        free(*v);
    free((void *)(uintptr_t)identity->env);
    identity->env = NULL;
}

bool identity_make(struct identity *identity, const char *const *env, const char *user, const char *passwd,
                   const char *group, char *err, size_t err_size)
{
    static const char *const passed[] = {"TERM", "COLORTERM", "LANG", "LC_ALL", "TZ"};
    struct list l = {0};
    char shown[256] = "root";

    *identity = (struct identity){0};
    if (user && !parse_user(user, passwd, group, identity, shown, sizeof shown, err, err_size))
        return false;
    set_value(&l, "PATH", IDENTITY_PATH);
    set_value(&l, "HOME", identity->uid ? "/" : "/root");
    set_value(&l, "USER", shown);
    set_value(&l, "SHELL", "/bin/sh");
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++)
        if (getenv(passed[i]))
            set_value(&l, passed[i], getenv(passed[i]));
    for (; env && *env; env++) {
        if (**env == '=' || **env == 0) {
            snprintf(err, err_size, "--env %s: NAME=VALUE, or NAME for the value that it has here", *env);
            goto fail;
        }
        if (strchr(*env, '=')) {
            set(&l, strdup(*env));
        } else if (getenv(*env)) {
            set_value(&l, *env, getenv(*env));
        } else {
            snprintf(err, err_size, "--env %s: it is not set here (give it a value: %s=VALUE)", *env, *env);
            goto fail;
        }
    }
    if (!l.lost) {
        identity->env = l.v;
        return true;
    }
    snprintf(err, err_size, "the command's environment: %s", strerror(ENOMEM));
fail:
    while (l.n)
        free(l.v[--l.n]);
    free(l.v);
    return false;
}
