# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# README.md does not rot: each command that it shows is run by a test, as it stands there, and names only what there is. Those that
# a bare-metal program can follow are run here; those that boot Linux in tests/linux, by readme_line().

# The commands of README.md, one a line, without what is said beside them; those of a batch and of `-n` among them.
readme_commands() {
    sed -n 's/^    //p' "$top/README.md" | sed -n 's/^\$ *//; /^\.\/vmlet /p; /^vmlet /p; /^run -k /p; /^-n /p; /^make/p; /^gdb /p; /^set -- /p
        /^tests\//p; /^socat /p; /^\$EDITOR/p; /^cat /p' | sed 's/   .*//; s/ *#.*//; s/ &$//'
}

# A line is run where a test of tests/ takes it from README.md by these words (readme_line, share_line, shown), or takes the whole
# passage that it stands in.
test_each_command_of_the_readme_is_run_by_a_test() {
    readme_commands >commands
    [ "$(wc -l <commands)" -gt 50 ] || { echo "only these:"; cat commands; return 1; }
    grep -ohE "(readme_line|share_line|run_line [0-9]+|shown|as_shown [0-9]+) ('[^']+'|\"[^\"]+\")" "$top"/tests/linux/[0-9]*.sh "$top"/tests/cli/*.sh |
        sed "s/^[^'\"]*.//; s/.\$//" >taken
    cat >>taken <<'END'
set -- $(tests/kernels path full)
$EDITOR guest/edu-driver/edu.c
tests/module full guest/edu-driver
./vmlet run -k $1 -n mode=none --device edu --module build/module/full/edu.ko --trace edu
vmlet run -k arch/x86/boot/bzImage --timeout 900
vmlet run -k bzImage --timeout 300 --silence-timeout 60
run -k exit_value --device exit
run -k edu_driver --device exit
run -k end_timeout_idle
vmlet batch boots
cat boots
END
    while IFS= read -r command; do
        case $command in make | '-n '*) continue ;; esac # test_network_lines takes all of these
        found=
        while IFS= read -r words; do
            case $command= in *"$words"*) found=1 ;; esac
        done <taken
        [ -n "$found" ] || { echo "nobody runs: $command"; bad=1; }
    done <commands
    [ -z "${bad-}" ]
}

# The one command that has these words; that is these words, where they end in "=".
shown() { # WORDS
    case $1 in
    *=) readme_commands | grep -xF -- "${1%=}" >line.shown ;;
    *) readme_commands | grep -F -- "$1" >line.shown ;;
    esac
    [ "$(wc -l <line.shown)" = 1 ] || { echo "README.md has not one line with '$1':" >&2; cat line.shown >&2; return 1; }
    cat line.shown
}
# Runs it by a shell as it stands.
as_shown() { # STATUS WORDS
    line=$(shown "$2") || return 1
    mkdir -p bin
    ln -sf "$vmlet" bin/vmlet
    status "$1" env PATH="$PWD/bin:$PATH" sh -c "$line"
}

test_bare_metal_lines() {
    cp "$value" test.elf
    as_shown 42 'vmlet run -k test.elf --device exit='
}

# What is promised to be among the lines is, but for the times and the number of repetitions.
test_trace_line_and_what_it_shows() {
    command -v script >script.path || { echo "no script"; exit 77; }
    cp "$edu_driver" test.elf
    line=$(shown '--trace edu --trace-file t.json')
    mkdir -p bin && ln -sf "$vmlet" bin/vmlet
    PATH="$PWD/bin:$PATH" script -qefc "$line" /dev/null </dev/null >seen
    plain() { tr -d '\r' | sed -n 's/^ *[0-9]*\.[0-9]* \(cpu0\|-  \)/\1/p' | sed 's/the same [0-9]* /the same N /; s/STATUS=[01].*/STATUS=/'; }
    plain <seen >came
    sed -n '/^    vmlet run -k test.elf --device exit --device edu/,/^- /s/^    //p' "$top/README.md" | plain >promised
    [ "$(wc -l <promised)" -ge 6 ]
    while IFS= read -r want; do
        grep -qxF -- "$want" came || { echo "README.md promises: $want"; cat came; return 1; }
    done <promised
    grep -q '"reg":"FACTORIAL"' t.json
}

# `-n` and what stands behind it, as an option of a guest that ends at once.
test_network_lines() {
    readme_commands | grep '^-n ' >lines
    [ "$(wc -l <lines)" -ge 12 ]
    printf '#!/bin/sh\necho "$(basename "$0") $1" >>%s/said\n' "$WORK" >up
    chmod +x up
    cp up down
    while IFS= read -r words; do
        want=42
        words=$(echo "$words" | sed "s,/path/,$WORK/,g; s,/tmp/x.sock,$WORK/x.sock,")
        case $words in
        *mode=tap*) [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] || continue ;;
        *fd=3*) want=125 ;; # nothing is open there
        esac
        case $words in *vhost=1*) [ -e /dev/vhost-net ] || continue ;; esac
        # shellcheck disable=SC2086 # words of a command line
        status $want "$vmlet" run -k "$value" --device exit -m 16 $words || { echo "README.md: $words"; bad=1; }
        case $words in *script=*) grep -q '^up ' said && grep -q '^down ' said || { echo "scripts did not run"; bad=1; } ;; esac
        case $words in *pcap=*) [ -s FILE ] || { echo "no FILE"; bad=1; } ;; esac
    done <lines
    [ -z "${bad-}" ]
}

# The example of a batch, with its output, but for the times.
test_batch_as_shown() {
    sed -n '/^### Many boots/,/^A run command/s/^    //p' "$top/README.md" >shown
    sed -n '/^\$ cat boots/,/^\$ vmlet/{/^\$/!p}' shown >boots
    cp "$value" exit_value
    cp "$edu_driver" edu_driver
    cp "$idle" end_timeout_idle
    line=$(sed -n 's/^\$ \(vmlet batch\)/\1/p' shown)
    mkdir -p bin && ln -sf "$vmlet" bin/vmlet
    status 0 env PATH="$PWD/bin:$PATH" sh -c "$line"
    timeless() { sed 's/[0-9]*\.[0-9] s/T s/; s/ [0-9]*\.[0-9]  / T  /; s/, [0-9]*\.[0-9] s/, T s/' | sort; }
    sed '1,/^\$ vmlet/d' shown | timeless >want
    cat out err | timeless >got
    diff want got
}

# Options, files and verbs that it names are there.
test_what_the_readme_names() {
    { "$vmlet" help run; "$vmlet" help batch; echo '--dump --nmi --sysrq --now --help --nodefaults'; } >options
    grep -oE -e '(^|[ `(])--[a-z][a-z-]+' "$top/README.md" | tr -d ' `(' | sort -u >named
    while read -r option; do
        grep -qE -e "(^|[ ,])$option( |,|$)" options || { echo "no such option: $option"; bad=1; }
    done <named
    grep -oE '(^|[ `(])(guest|tests|include)/[A-Za-z0-9_/.-]*[A-Za-z0-9]' "$top/README.md" | tr -d ' `(' | sort -u >files
    while read -r file; do
        [ -e "$top/$file" ] || { echo "no such file: $file"; bad=1; }
    done <files
    grep -oE '`vmlet [a-z-]+' "$top/README.md" | sed 's/.* //' | sort -u >verbs
    while read -r verb; do
        "$vmlet" help "$verb" >/dev/null || bad=1
    done <verbs
    [ -z "${bad-}" ]
}
