// SPDX-License-Identifier: MIT
/* A batch file's lines: what a shell would make of them, what is refused, and the way back. */
#include "test.h"

#include "guest/words.h"

#include <sys/wait.h>
#include <unistd.h>

static const char *split(const char *line, char *flat)
{
    char **words;
    int n;
    const char *error = words_split(line, strlen(line), &words, &n);
    if (error)
        return error;
    flat[0] = 0;
    for (int i = 0; i < n; i++)
        sprintf(flat + strlen(flat), "<%s>", words[i]);
    CHECK(words[n] == NULL);
    free(words);
    return NULL;
}

TEST(words_as_a_shell_reads_them)
{
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"",                            ""                              },
        {"  \t ",                       ""                              },
        {"# run -k x",                  ""                              },
        {"run -k x # why",              "<run><-k><x>"                  },
        {"a#b c",                       "<a#b><c>"                      },
        {"  run\t-k  x \r",             "<run><-k><x>"                  },
        {"-- sh -c 'a | b; \"c\" $d'",  "<--><sh><-c><a | b; \"c\" $d>" },
        {"a\\ b \\'c\\# \\|",           "<a b><'c#><|>"                 },
        {"'' \"\" a''b",                "<><><ab>"                      },
        {"\"a \\\" \\\\ \\$ \\` \\n\"", "<a \" \\ $ ` \\n>"             },
        {"a\"b c\"'d e'\\ f",           "<ab cd e f>"                   },
        {"k=a,b=\xc3\xa4 [a-z]+ * ?",   "<k=a,b=\xc3\xa4><[a-z]+><*><?>"},
        {"a~b",                         "<a~b>"                         },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flat[256];
        CHECK(!split(cases[i].line, flat));
        CHECK_STR(flat, cases[i].words);
    }
}

TEST(words_that_are_refused)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"run 'a b",    "' is not closed" },
        {"run \"a b'",  "\" is not closed"},
        {"run \"a\\\"", "\" is not closed"},
        {"run a\\",     "backslash"       },
        {"run | x",     "for a shell"     },
        {"run a>b",     "for a shell"     },
        {"$(x)",        "for a shell"     },
        {"\"$x\"",      "for a shell"     },
        {"~/x",         "for a shell"     },
        {"a\x1b[0m",    "control"         },
        {"a\nb",        "control"         },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flat[256];
        const char *error = split(cases[i].line, flat);
        CHECK(error && strstr(error, cases[i].why));
    }
    char **words;
    int n;
    CHECK(words_split("a\0b", 3, &words, &n)); /* a NUL byte */
}

/* Words made at random: printed and read they are the same, and a shell agrees. */
TEST(words_there_and_back)
{
    static const char some[] = "ab'\"\\ $`|&;<>()*?[]#~!{}=\t\xc3\xa4-";
    uint64_t seed = 6;
    for (int round = 0; round < 500; round++) {
        char made[4][9], *words[5] = {made[0], made[1], made[2], made[3], NULL};
        int n = 1 + (int)(test_rand(&seed) % 4);
        for (int i = 0; i < n; i++) {
            size_t len = test_rand(&seed) % 8;
            for (size_t k = 0; k < len; k++)
                made[i][k] = some[test_rand(&seed) % (sizeof some - 1)];
            made[i][len] = 0;
        }
        char *text = NULL, **back;
        size_t size;
        int n_back;
        FILE *f = open_memstream(&text, &size);
        words_print(f, words, n);
        fclose(f);
        CHECK(!words_split(text, size, &back, &n_back));
        CHECK_EQ(n_back, n);
        for (int i = 0; i < n; i++)
            CHECK_STR(back[i], words[i]);
        free(back);
        if (round < 20) { /* each is a process */
            char command[512], line[128] = "", want[128] = "";
            snprintf(command, sizeof command, "printf '<%%s>' %s", text);
            for (int i = 0; i < n; i++)
                sprintf(want + strlen(want), "<%s>", words[i]);
            FILE *sh = popen(command, "r");
            CHECK(sh);
            CHECK(fgets(line, sizeof line, sh));
            CHECK(pclose(sh) == 0);
            CHECK_STR(line, want);
        }
        free(text);
    }
}

/* Any bytes at all: an answer, and nothing beside the words touched (the sanitizers look). */
TEST(words_of_any_bytes)
{
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        char *line = malloc(16);
        size_t len = test_rand(&seed) % 16;
        for (size_t k = 0; k < len; k++)
            line[k] = "a '\"\\#\r\t"[test_rand(&seed) % 8];
        char *exact = malloc(len + !len);
        memcpy(exact, line, len);
        char **words;
        int n;
        if (!words_split(exact, len, &words, &n)) {
            for (int i = 0; i < n; i++)
                CHECK(strlen(words[i]) <= len);
            free(words);
        }
        free(exact);
        free(line);
    }
}
