# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# --symbols: names for the addresses that are told.

test_symbols_in_a_register_dump() {
    status 123 "$vmlet" run -k "$triple" -m 16 --symbols "$triple" --result result
    grep -q 'triple fault at RIP 0x40000e (_start+0xe) (code' err && grep -q 'RIP  000000000040000e (_start+0xe)' err
    grep -q '^detail=.*RIP 0x40000e (_start+0xe)' result
    nm "$triple" | sort >map
    status 123 "$vmlet" run -k "$triple" -m 16 --symbols map
    grep -q 'triple fault at RIP 0x40000e (_start+0xe) (code' err
}

test_symbols_in_traces_and_lint() {
    status 0 "$vmlet" run -k "$edu_driver" -m 16 --device exit --device edu --trace edu --lint --symbols "$edu_driver" --trace-file t.json
    grep -Eq 'cpu0  0x[0-9a-f]+ +[a-z_]+(\+0x[0-9a-f]+)? edu0 R ID=' err
    grep -q '"pc":"0x[0-9a-f]*","at":"[a-z_]*+0x[0-9a-f]*","dev":"edu0"' t.json
    status 0 "$vmlet" trace-diff t.json t.json
}

test_symbols_in_debug() {
    guest hangs "$idle" --symbols "$idle"
    "$vmlet" debug hangs --dump >dump
    grep -Eq 'RIP  [0-9a-f]{16} \([a-z_]+' dump
    kill $guest
    ended 143
}

test_symbols_files_that_are_none() {
    echo 'ffffffffffffffff B The real System.map is in the linux-image-6.1.0-56-amd64-dbg package' >stub
    status 125 "$vmlet" run -k "$value" --symbols stub && line 'stub: it is a stub, .*linux-image-6.1.0-56-amd64-dbg package'
    echo hello >text
    status 125 "$vmlet" run -k "$value" --symbols text && line 'text: neither an ELF file nor a System.map'
    gzip -k text
    status 125 "$vmlet" run -k "$value" --symbols text.gz && line 'text.gz: it is compressed \(gzip\)'
    cp "$value" stripped && strip stripped
    status 125 "$vmlet" run -k "$value" --symbols stripped && line 'stripped: it has no symbol table'
    status 125 "$vmlet" run -k "$value" --symbols /dev/zero && line '/dev/zero: it is a character device'
    status 125 "$vmlet" run -k "$value" --symbols absent --result result && line 'absent: No such file'
    result reason=setup status=125
}
