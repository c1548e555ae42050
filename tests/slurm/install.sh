#!/bin/sh
# Install the SLURM daemons that the tests of the SLURM launcher start, where that is possible; never fails.
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests/slurm: no SLURM; install slurmctld, slurmd, slurm-client and munge to run the tests of its launcher" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
options="-qq -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30"
packages="slurmctld slurmd slurm-client munge"
log=$(mktemp)
# shellcheck disable=SC2086
{ apt-get $options update && apt-get $options install -y --no-install-recommends $packages; } \
    >"$log" 2>&1 || { echo "tests/slurm: apt-get could not install SLURM:" >&2; tail -3 "$log" >&2; }
rm -f "$log"
exit 0
