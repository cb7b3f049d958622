#!/bin/sh
# Make .venv if there is none, and install a requirements file into it.
# Usage: tools/environment.sh REQUIREMENTS
set -eu

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() {
    for candidate in python3.12 python3.11 python3; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail 'Tiebreak needs Python 3.11 or newer. On Debian 12: apt-get install python3 python3-venv'
}

make_environment() {
    python=$(find_python)
    if ! can_make_environments "$python"; then
        # Debian ships Python without the part that makes environments.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo 'Installing python3-venv …'
            { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv; } >/dev/null
        fi
        can_make_environments "$python" ||
            fail "$python cannot make virtual environments. On Debian: sudo apt-get install python3-venv"
    fi
    echo "Making .venv with $("$python" --version) …"
    "$python" -m venv .venv
}

install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" ||
        fail 'pip could not install what Tiebreak needs; its words are above.'
}

[ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 || make_environment
echo "Installing $1 (the first time this takes some minutes) …"
install "$(grep '^torch==' requirements.txt)"
install -r "$1"
# Compile now rather than during someone's first merge: all of Tiebreak to bytecode, as pip does with what it installs, and
# the hot loops to machine code.
.venv/bin/python -m compileall -q app.py components merge_core
.venv/bin/python -m merge_core.kernels
