# SPDX-License-Identifier: MIT
# What the generated initramfs brings along.

test_add_a_file() {
    echo content >data
    run vmlet run -k "$CLOUD" --add data:/some/where/file -- cat /some/where/file
    expect_status 0
    expect_out 'content\n'
}
test_add_a_missing_file() { # 10 s
    run vmlet run -k "$CLOUD" --add /no/such/file -- true
    expect_status 125
    expect_match err '/no/such/file'
}
test_script_with_its_interpreter() {
    printf '#!/bin/sh\necho script "$@"\n' >script
    chmod +x script
    run vmlet run -k "$CLOUD" -- ./script a b
    expect_status 0
    expect_out 'script a b\n'
}
test_module_with_what_it_needs() {
    run vmlet run -k "$CLOUD" --module overlay --modules-dir "$CLOUD_MODULES" -- grep overlay /proc/filesystems
    expect_status 0
    expect_match out 'overlay'
}
test_module_that_is_not_there() {
    run vmlet run -k "$CLOUD" --module no-such-module --modules-dir "$CLOUD_MODULES" -- true
    expect_status 125
    expect_match err 'no-such-module'
}
test_mounts_folder_and_environment() {
    mkdir -p deep/er
    cd deep/er
    here=$PWD
    run vmlet run -k "$CLOUD" -- sh -c 'for d in /proc /sys /dev; do grep -q " $d " /proc/mounts && echo $d; done; pwd; echo "${HOME:?}" >&2'
    expect_status 0
    expect_out '/proc\n/sys\n/dev\n%s\n' "$here"
}
test_env_cwd_and_user() {
    run vmlet run -k "$CLOUD" --env A='1 2' --cwd /some/where --user 77:88 -- sh -c 'echo "$A"; pwd; id -u; id -g; id -G; echo $USER $HOME'
    expect_status 0
    expect_out '1 2\n/some/where\n77\n88\n88\n77 /\n'
}
# As Debian 13 and Fedora ship them; the folder has all that the module needs, each compressed.
test_compressed_modules() { # 60 s
    mkdir -p m
    cp -r "$CLOUD_MODULES" m/
    dir=m/${CLOUD_MODULES##*/}
    find "$dir" -name '*.ko' | while read -r f; do gzip "$f"; done
    rm -f "$dir/modules.dep"
    run vmlet run -k "$CLOUD" --module bridge --modules-dir "$dir" -- sh -c 'grep -w ^bridge /proc/modules; ls /sys/class/net'
    expect_status 0
    expect_match out '^bridge .*Live'
    expect_match out '^eth0$' # the card's driver came the same way
}
test_add_a_folder() {
    mkdir -p tree/sub/empty
    echo deep >tree/sub/file
    printf '#!/bin/sh\necho runs\n' >tree/run
    chmod +x tree/run
    ln -s sub/file tree/link
    run vmlet run -k "$CLOUD" --add tree:/some/place -- sh -c 'cd /some/place && find . | sort && cat link && ./run'
    expect_status 0
    expect_out '.\n./link\n./run\n./sub\n./sub/empty\n./sub/file\ndeep\nruns\n'
}
