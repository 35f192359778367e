# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034,SC2086
# What `make install` puts beside the program, all from the option tables.

test_install_of_program_manual_and_completion() {
    cmp -s "$vmlet" "$top/vmlet" || { echo "another vmlet is under test than the tree's"; exit 77; }
    # neither builds anything, with whatever flags the tree was built
    "${MAKE:-make}" -s -C "$top" -o all install DESTDIR="$PWD/root" PREFIX=/usr >make.out 2>&1 || { cat make.out; return 1; }
    [ -x root/usr/bin/vmlet ] && root/usr/bin/vmlet version || return 1
    for option in $("$vmlet" help run | sed -n 's/^ *\(-.,\)\{0,1\} *--\([a-z-]*\).*/\2/p'); do
        grep -qF -- "\\-\\-$(echo "$option" | sed 's/-/\\-/g')" root/usr/share/man/man1/vmlet.1 || { echo "manual: no --$option"; bad=1; }
        grep -qF -- "--$option " root/usr/share/bash-completion/completions/vmlet || { echo "completion: no --$option"; bad=1; }
    done
    [ -n "$option" ] && [ -z "${bad-}" ]
}

test_manual_page_is_read_without_a_warning() {
    command -v man >man.path || { echo "no man"; exit 77; }
    "$vmlet" help man >vmlet.1
    LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z vmlet.1 >/dev/null 2>err
    [ ! -s err ] || { cat err; return 1; }
}

test_completion_in_bash() {
    command -v bash >bash.path || { echo "no bash"; exit 77; }
    "$vmlet" help completion >completion
    cat >try <<'END'
. ./completion
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _vmlet; echo "${COMPREPLY[*]}"; }
try vmlet ru
try vmlet run --tim
try vmlet run --console ser
try vmlet sandbox --fail-
try vmlet run --device ed
try vmlet help ma
try vmlet info NAME q
try vmlet debug NAME --n
try vmlet run -- prog --tim
END
    bash try >got || return 1
    printf '%s\n' run --timeout serial --fail-on edu man qtree --nmi '' | diff - got
}
