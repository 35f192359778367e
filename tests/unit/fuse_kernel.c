// SPDX-License-Identifier: MIT
/* The same server under this machine's own kernel, by /dev/fuse: shell commands in the mount, and the host's folder ($H) beside
 * it ($M) to compare with. What a guest's kernel sends over virtio-fs is what this one sends here. */
#include "fuse_mount.h"

/* Its exit status; 99 if it took too long. */
static int shell(struct mounted *m, const char *script)
{
    char host[96];
    snprintf(host, sizeof host, "%s/share", m->dir);
    pid_t pid = fork_client(m);
    if (!pid) {
        setenv("H", host, 1);
        setenv("M", m->at, 1);
        setenv("LC_ALL", "C", 1);
        setpgid(0, 0);
        static char text[8192]; /* "! command" does not end a script */
        snprintf(text, sizeof text, "no() { if \"$@\" 2>/dev/null; then echo \"did: $*\"; exit 1; fi; }\n%s",
                 script);
        execl("/bin/sh", "sh", "-euc", text, (char *)NULL);
        _exit(98);
    }
    for (unsigned long i = getenv("TEST_SCALE") ? 300000 : 6000; i--;) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
        usleep(10000);
    }
    kill(-pid, SIGKILL);
    return 99;
}

/* A script; it gets "0" for what holds. */
static void run(const struct fuse_config *config, const char *script)
{
    static struct mounted m;
    m = (struct mounted){.fd = -1};
    const char *why = mount_at(&m, config);
    int status = why ? 0 : shell(&m, script);
    unmount(&m);
    if (why)
        SKIP(why);
    CHECK_EQ(status, 0);
}

TEST(fuse_kernel_files_and_links)
{
    run(NULL,
        "cd $M; echo hello >a; [ \"$(cat $H/a)\" = hello ]; ln a b; ln -s a c; [ $(stat -c %h $H/a) = 2 ]\n"
        "[ \"$(cat c)\" = hello ]; echo more >>b; [ \"$(cat $H/a)\" = \"$(printf 'hello\\nmore')\" ]\n"
        "mkdir d; mv a d/a2; [ -f $H/d/a2 ]; rm b; [ $(stat -c %h d/a2) = 1 ]; no rmdir d\n"
        "truncate -s 3 d/a2; [ \"$(cat $H/d/a2)\" = hel ]; chmod 4711 d/a2; [ $(stat -c %a $H/d/a2) = 4711 "
        "]\n"
        "touch -d @1000 d/a2; [ $(stat -c %Y $H/d/a2) = 1000 ]; touch -h -d @5 c; [ $(stat -c %Y $H/c) = 5 "
        "]\n"
        "mkfifo f; (echo through >f &); [ \"$(cat f)\" = through ]\n"
        "(umask 077; echo x >private; mkdir pd); [ $(stat -c %a $H/private) = 600 ]; [ $(stat -c %a $H/pd) = "
        "700 ]\n"
        "chown 5:6 private; [ $(stat -c %u:%g $H/private) = 5:6 ]; df $M >/dev/null; sync -f $M; ls -la "
        ">/dev/null\n"
        "rm -r d; exec 3>open; rm open; echo still >&3; exec 3>&-");
}

TEST(fuse_kernel_a_tree_is_copied_and_compared)
{
    run(NULL, "cp -a /usr/include/linux $M/tree; diff -r /usr/include/linux $H/tree; diff -r "
              "/usr/include/linux $M/tree\n"
              "(cd /usr/include/linux && find . -printf '%p %m %s %T@ %l\\n' | sort) >$H/one\n"
              "(cd $M/tree && find . -printf '%p %m %s %T@ %l\\n' | sort) >$M/two; cmp $H/one $H/two\n"
              "tar -C $M -cf - tree | tar -C $H -df -; rm -r $M/tree; [ ! -e $H/tree ]");
}

TEST(fuse_kernel_what_is_appended_goes_behind_what_the_host_appended)
{
    run(NULL, "cd $M; exec 3>>f; echo a >&3; printf host >>$H/f; echo b >&3\n"
              "[ \"$(cat $H/f)\" = \"$(printf 'a\\nhostb')\" ]");
}

/* Pages of a mapping are written by whatever handle there is. */
static int map_and_append(const char *path)
{
    char page[4096] = "old";
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || write(fd, page, sizeof page) != sizeof page)
        return 1;
    char *map = mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 2;
    memcpy(map, "new", 3);
    return msync(map, sizeof page, MS_SYNC) < 0 || close(fd) < 0 ? 3 : 0;
}

TEST(fuse_kernel_a_mapping_of_a_file_opened_to_append)
{
    static struct mounted m;
    m = (struct mounted){.fd = -1};
    const char *why = mount_at(&m, NULL);
    char path[128], got[8192] = "";
    ssize_t n = 0;
    int status = 0;
    if (!why) {
        snprintf(path, sizeof path, "%s/f", m.at);
        pid_t pid = fork_client(&m);
        if (!pid)
            _exit(map_and_append(path));
        waitpid(pid, &status, 0);
        snprintf(path, sizeof path, "%s/share/f", m.dir);
        int fd = open(path, O_RDONLY);
        n = read(fd, got, sizeof got);
        close(fd);
    }
    unmount(&m);
    if (why)
        SKIP(why);
    CHECK_EQ(status, 0);
    CHECK_EQ(n, 4096);
    CHECK_STR(got, "new");
}

TEST(fuse_kernel_a_change_on_the_host_is_seen)
{
    run(NULL, "cd $M; echo one >$H/f; [ $(cat f) = one ]; echo two >$H/f.new; mv $H/f.new $H/f; sleep 1; [ "
              "$(cat f) = two ]\n"
              "echo six >$H/f; sleep 1; [ $(cat f) = six ]; no cat g; echo g >$H/g; sleep 1; [ "
              "$(cat g) = g ]\n"
              "rm $H/g; sleep 1; no cat g; mkdir $H/d; sleep 1; ls d; ls | grep -qx d");
    struct fuse_config none = {.no_cache = true};
    run(&none, "cd $M; for i in 1 2 3 4 5 6 7 8 9; do echo $i >$H/f; [ $(cat f) = $i ]; echo n$i >$H/n; mv "
               "$H/n $H/f\n"
               "[ $(cat f) = n$i ]; rm $H/f; no cat f; done; cp /bin/sh .; ./sh -c true");
}

TEST(fuse_kernel_users_and_privileges)
{
    if (system("command -v setpriv >/dev/null 2>&1") != 0)
        SKIP("no setpriv");
    run(NULL,
        "chmod 755 ${M%/*}; cd $M; as() { setpriv --reuid 1234 --regid 4321 --clear-groups -- sh -c \"$1\"; "
        "}\n"
        "chmod 777 .; as 'echo x >mine; mkdir d; ln -s x s'; for f in mine d s; do [ $(stat -c %u:%g $H/$f) "
        "= 1234:4321 ]; "
        "done; echo r >root; chmod 600 root; no as 'cat root'; no as 'chmod 777 root'\n"
        "cp /bin/true suid; chmod 6777 suid; as 'echo >>suid'; [ $(stat -c %a $H/suid) = 777 ]\n"
        "echo >g; chown 0:777 g; chmod 660 g; no as 'echo no >g'\n"
        "setpriv --reuid 1234 --regid 4321 --groups 777 -- sh -c 'echo yes >g'; [ $(cat $H/g) = yes ]");
}

TEST(fuse_kernel_read_only)
{
    struct fuse_config ro = {.ro = true};
    run(&ro, "cd $M; echo x >$H/f; mkdir $H/d; cat f >/dev/null; ls -la d >/dev/null; no touch new\n"
             "no rm f; no mkdir e; no chmod 777 f; no mv f g\n"
             "no sh -c 'echo >>f'; no truncate -s 0 f; [ $(cat $H/f) = x ]");
}

TEST(fuse_kernel_git)
{
    if (system("command -v git >/dev/null 2>&1") != 0)
        SKIP("no git");
    run(NULL,
        "export HOME=$M; cd $M; git init -q .; cp -r /usr/include/linux/netfilter* .; git add .\n"
        "git -c user.name=n -c user.email=e commit -qm one; [ -z \"$(git status --porcelain)\" ]\n"
        "echo x >>netfilter.h; git status --porcelain | grep -q 'M netfilter.h'; git checkout -q "
        "netfilter.h\n"
        "cd $H; git -c safe.directory=* fsck; [ -z \"$(git -c safe.directory=* status --porcelain)\" ]");
}

/* 50,000 of them in soak. */
TEST(fuse_kernel_many_small_files)
{
    char script[1024];
    unsigned long folders = test_scale(10);
    snprintf(script, sizeof script,
             "cd $M; i=0; while [ $i -lt %lu ]; do mkdir d$i; (cd d$i; seq 1 100 | split -l 1 -a 3 - f); "
             "i=$((i + 1)); done\n"
             "[ $(find . -type f | wc -l) = %lu ]; (cd $H; find . -type f -exec cat {} + | cksum) >$H/one\n"
             "(find d* -type f -exec cat {} + | cksum) >two; [ \"$(ls -A $H/d0)\" = \"$(ls -A d0)\" ]\n"
             "! command -v git >/dev/null || { export HOME=$M; git init -q .; git add d*\n"
             "git -c user.name=n -c user.email=e commit -qm one; [ -z \"$(git status --porcelain d*)\" ]; }\n"
             "rm -r d*; [ -z \"$(ls -d $H/d* 2>/dev/null)\" ]",
             folders, folders * 100);
    run(NULL, script);
}
