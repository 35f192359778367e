# SPDX-License-Identifier: MIT
# module: guest/edu-driver
# files: README.md:/t/README.md
# What README.md shows of bringing up a driver, run as it stands there: its last command is read from it, and so are the lines
# that it promises.

test_readme_brings_up_a_driver() { # 90 s
    readme=${TESTS%/*}/README.md
    [ -e "$readme" ] || readme=${TESTS%/*/*}/README.md
    [ -e "$readme" ] || readme=/t/README.md
    sed -n '/^## Bring up a driver/,/^## Seeing/s/^    //p' "$readme" >lines
    sed -n '/^\.\/vmlet run/,/^[0-9]/{/^[0-9]/!p}' lines >said.sh
    grep -q 'echo 10 >factorial' said.sh || { cat lines; fail "no such command in README.md"; }
    mkdir -p build/module/full
    ln -s "$EDU_KO" build/module/full/edu.ko
    ln -s "$(command -v vmlet)" vmlet
    run sh -c "set -- $FULL $FULL_MODULES; $(cat said.sh)"
    expect_status 0
    expect_match out '^3628800$'
    expect_match out '^1 0x1 msi$'
    # time and program counter are of that run; the vector is the guest's choice
    grep -E '^ *[0-9]+\.[0-9]+ (cpu|-)' lines | sed 's/^.*edu0/edu0/; s/vector [0-9]*/vector N/' >promised
    expect "$(wc -l <promised)" -ge 5
    sed -n 's/^.*edu0/edu0/p' err | sed 's/vector [0-9]*/vector N/' >came
    while read -r line; do
        grep -qxF -- "$line" came || { cat came; fail "README.md promises: $line"; }
    done <promised
}
