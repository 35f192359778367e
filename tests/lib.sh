# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Shared by the scripts under tests/: where the cache is, how to speak, how to fetch Debian packages without installing
# them. Sourced by POSIX sh; the caller sets `top` to the root of the tree.
#
# Debian's archive is read with a sources file and a lists folder of our own, so that nothing here needs root, nothing
# changes the machine's own package state, and i386 and backports need not be configured on the machine.

cache=${VMLET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmlet}
me=${0##*/}

say() { echo "$me: $*" >&2; }
die() { say "$@"; exit 125; }
have() { command -v "$1" >/dev/null 2>&1; }

# The mirror that the machine's own entry for suite $1 names, else Debian's.
mirror() {
    m=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null | sed -n "s/^$1 //p" | sed -n 1p)
    echo "${m:-$2}"
}

apt_private() { # TOOL ARGS...
    tool=$1
    shift
    "$tool" -q -o Dir::Etc::SourceList="$cache/apt/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64,i386 -o APT::Sandbox::User= \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# Lists of bookworm for amd64 and i386, of its security updates and backports for amd64. "again" fetches them anew (a package that
# the lists name may be gone from the mirror).
apt_lists() { # [again]
    have apt-get && have dpkg-deb || { say "no apt-get here: cannot fetch Debian packages"; return 1; }
    [ "${1-}" = again ] || [ ! -e "$cache/apt/ready" ] || return 0
    mkdir -p "$cache/apt/lists/partial"
    main=$(mirror bookworm http://deb.debian.org/debian)
    security=$(mirror bookworm-security http://deb.debian.org/debian-security)
    cat >"$cache/apt/sources.list" <<END
deb $main bookworm main
deb [arch=amd64] $security bookworm-security main
deb [arch=amd64] $main bookworm-backports main
END
    say "fetching Debian's package lists"
    apt_private apt-get update >"$cache/apt/log" 2>&1 || { cat "$cache/apt/log" >&2; return 1; }
    : >"$cache/apt/ready"
}

# Downloads packages into the current folder; stale lists are renewed once.
apt_fetch() { # PACKAGE...
    apt_private apt-get download "$@" >"$cache/apt/log" 2>&1 && return 0
    apt_lists again && apt_private apt-get download "$@" >"$cache/apt/log" 2>&1 && return 0
    cat "$cache/apt/log" >&2
    return 1
}

# Runs the rest of the command while holding the cache's lock of that name: several runs may share one cache. What it leaves in $part
# is of no use to anyone, and may be all the room that the disk had.
locked() { # NAME COMMAND...
    mkdir -p "$cache" || die "$cache: cannot create the cache folder (set VMLET_CACHE)"
    lock=$cache/$1.lock
    shift
    (
        part=''
        trap '[ -z "$part" ] || rm -rf "$part"' EXIT
        flock 9 && "$@"
    ) 9>"$lock"
}
