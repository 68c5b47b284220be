#!/bin/sh
# Installs what tests/browser need beside Python: chromium, from Debian's packages. Does nothing when it is there.
set -eu

command -v chromium >/dev/null && exit 0

if ! command -v apt-get >/dev/null; then
  echo "tests/browser: needs chromium, which this script installs on Debian only: put a \`chromium\` on the PATH" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "tests/browser: needs root to install chromium; run: sudo sh tests/browser/setup.sh" >&2
  exit 1
fi

echo "installing chromium ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null
