# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034,SC2086
# Words that are wrong: 125 and one line that names them.

test_L7_bad_words_are_named() {
    bad=0
    mkdir folder
    while read -r words; do
        case $words in '' | '#'*) continue ;; esac
        regex=${words#* :: } words=${words%% :: *}
        { status 125 "$vmlet" run -k "$value" $words && line "$regex"; } || { echo "  words: $words"; bad=1; }
    done <<END
-m 0 :: -m 0: must be
-m 1P :: -m 1P: must be
-m 64T :: (memory|-m)
-m -1 :: -m -1: not a size
-m 3.5x :: not a size
-m 18446744073709551616 :: too big
-m 17592186044416 :: too big
-m 1.0000001M :: whole number
-m :: -m: needs a value
-m 16 -m 0 :: -m 0
-m 1 :: more with -m
-c 0 :: -c 0: must be
-c 1000 :: --cpus 1000
-c 4294967297 :: -c 4294967297
-c x :: -c x: not a number
--bogus :: --bogus: no such option
--kernal x :: did you mean --kernel
-kernel x :: two dashes
-z :: -z: no such option
-k :: -k: needs a value
-append x :: -append: use -p
-smp 2 :: -smp: use -c
--vfio-pci 00:01.0 :: not passed through
--device edo :: did you mean edu
--device edu,dma_masc=1 :: did you mean dma_mask
-n mod=tap :: did you mean mode
-k /nonexistent :: kernel /nonexistent: No such file
-k /dev/zero :: not a regular file
-i /nonexistent :: initrd /nonexistent
-i folder :: initrd folder
second :: second: one kernel
-- :: --: the command is missing
-- true :: runs no command
--timeout x :: --timeout x: not a time
--timeout -1 :: not a time
--timeout 99999999999999 :: too long
--name ../x :: name "../x"
--name= :: name ""
--result folder :: --result folder: it is a folder
--result /nonexistent/x :: --result /nonexistent/x: its folder
--result= :: --result: the name is empty
--kernel-log /nonexistent/x :: --kernel-log /nonexistent/x
--kernel-log folder :: --kernel-log folder
--kernel-log= :: --kernel-log ""
--device junk :: --device junk: no such device
--device exit,junk=1 :: junk: no such key
--device exit --device exit :: there is one already
--dev /nonexistent :: /nonexistent: open: No such file
--dev /dev/null :: /dev/null: .*not KVM
--console junk :: --console junk
--loglevel junk :: --loglevel junk
-n junk :: junk: no such key
--hugetlbfs folder :: hugetlbfs folder
--mem-file /nonexistent/x :: file /nonexistent/x
--mem-file x --mem-shared :: exclude each other
--add value :: --add: no initramfs is generated
--module x :: --module: no initramfs is generated
-d x :: x: open: No such file or directory
--fail-on bogus :: there is no .bogus.
--allow a( :: --allow a\(:
--junit /nonexistent/x :: --junit /nonexistent/x
--env A=1 :: --env: no initramfs
END
    return $bad
}

test_L7_long_result_names_are_refused_before_the_guest_starts() {
    long=$(head -c 250 /dev/zero | tr '\0' r) # the file's own name fits, the temporary one does not
    status 125 "$vmlet" run -k "$value" --device exit --result "$long"
    line '^vmlet: --result .*File name too long'
}

test_L7_ram_across_the_hole() {
    for m in 3G 3073M 3.5G; do
        status 42 "$vmlet" run -k "$value" -m $m --device exit
    done
}

test_L7_long_words() {
    p=$(head -c 65000 /dev/zero | tr '\0' p)
    status 42 "$vmlet" run -k "$value" --device exit -p "$p"
    for word in "--$p" "-k$p" "-m$p" "--name=$p" "--device=$p" "--result=$p"; do
        status 125 "$vmlet" run -k "$value" "$word" # (the line is cut)
        line '^vmlet: '
    done
}

test_times_that_the_clock_cannot_hold_are_no_limit() {
    status 42 "$vmlet" run -k "$value" --device exit --timeout 18446744073
    status 124 "$vmlet" run -k "$idle" --device exit --timeout 1000000ns
}

test_verbs() {
    status 125 "$vmlet"
    status 125 "$vmlet" bogus && line 'see .vmlet help.'
    status 125 "$vmlet" rum && line 'rum: no such verb \(did you mean .run.\?\)'
    status 125 "$vmlet" help lst && line 'did you mean .list.'
    status 0 "$vmlet" run -k nothing --help && grep -q -e --fail-on out
    status 0 "$vmlet" help
    if grep -E '^.{82}' out; then return 1; fi # what a terminal shows in a line
    status 0 "$vmlet" stat -a -m
    status 125 "$vmlet" help bogus && line bogus
    status 125 "$vmlet" pause && line 'which guest'
    status 125 "$vmlet" stop --now && line 'which guest'
    status 1 "$vmlet" stop --now nobody && line '^vmlet: nobody: no such guest'
    status 1 "$vmlet" pause nobody && line nobody
    status 1 "$vmlet" pause ../../x && line 'name "../../x"'
    status 0 "$vmlet" pause -a
    status 0 "$vmlet" list
    status 125 sh -c "'$vmlet' help >/dev/full" && line 'standard output'
}

test_surroundings() {
    mkdir gone
    (cd gone && rmdir ../gone && "$vmlet" run -k "$value" --device exit --result r) >out 2>err && return 1 || [ $? = 125 ]
    line 'result r'
    status 42 env -i "$vmlet" run -k "$value" --device exit
    for dir in relative /nonexistent /dev/null ''; do
        status 42 env XDG_RUNTIME_DIR="$dir" "$vmlet" run -k "$value" --device exit
    done
}

# shellcheck disable=SC3045 # Debian's sh has it
# Whatever the limit is, the result is told: the status is the file's.
test_few_descriptors() {
    n=5
    while [ $n -lt 30 ]; do
        n=$((n + 1))
        rm -f result
        got=0
        # without what make left open for those whom it runs
        (exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; ulimit -n $n && exec timeout -k 1 10 "$vmlet" run -k "$value" --device exit --result result) >out 2>err </dev/null || got=$?
        [ $got != 42 ] || result status=42 reason=exited || return 1
        case $got in
        42) [ -e result ] ;;
        125) grep -q 'Too many open files' err && { [ ! -e result ] || result status=125 reason=setup; } ;;
        *) false ;;
        esac || { echo "$n descriptors: status $got"; cat err; return 1; }
        # the file that could not be tried is the only one that is not written
        [ -e result ] || grep -q -- '--result result' err && ! grep -q '^vmlet: --result result: Too' err || return 1
    done
    [ $got = 42 ]
}

test_without_permission() {
    command -v setpriv >/dev/null && [ "$(id -u)" = 0 ] || { echo "needs root and setpriv"; return 77; }
    [ "$(stat -c %a /dev/kvm)" != 666 ] || { echo "/dev/kvm is open to all"; return 77; }
    cp "$vmlet" vmlet && cp "$value" . && chmod 755 . ../
    status 125 setpriv --reuid 65534 --regid 65534 --clear-groups ./vmlet run -k exit_value
    line '/dev/kvm: open: Permission denied \('
}
