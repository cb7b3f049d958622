#!/bin/sh
# The browser tests need chromium and a font; install Debian's where they are missing.
set -eu

if command -v chromium >/dev/null && [ -d /usr/share/fonts/truetype/dejavu ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo 'error: the browser tests need chromium: as root, apt-get install chromium fonts-dejavu-core' >&2
    exit 1
fi
echo 'Installing chromium for the browser tests …'
$as_root apt-get update >/dev/null
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y chromium fonts-dejavu-core >/dev/null
