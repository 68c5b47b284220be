#!/bin/sh
# Installs what tests/services need beside Python: Slurm, munge and PostgreSQL, from Debian's packages. Does nothing
# when they are there. It starts no service: the tests start their own, in temporary folders, and stop them.
set -eu

missing=
[ -x /usr/sbin/slurmctld ] && [ -x /usr/sbin/slurmd ] && [ -x /usr/bin/sbatch ] || missing="$missing slurm-wlm"
[ -x /usr/sbin/munged ] || missing="$missing munge"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "tests/services: needs$missing, which this script installs on Debian and Ubuntu only" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "tests/services: needs root to install$missing; run: sudo sh tests/services/setup.sh" >&2
  exit 1
fi

echo "installing$missing ..." >&2
# No cluster that Debian's package would make and start: the tests have theirs.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/vae-tests.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # several packages
apt-get install -y -qq --no-install-recommends $missing >/dev/null
