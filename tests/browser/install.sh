#!/bin/sh
# Install the browser that the tests of the report page drive, where that is possible; never fails.
command -v chromedriver >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests/browser: no chromedriver; install chromium and chromium-driver to run the tests of the report page" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
options="-qq -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30"
log=$(mktemp)
# shellcheck disable=SC2086
{ apt-get $options update && apt-get $options install -y --no-install-recommends chromium chromium-driver; } \
    >"$log" 2>&1 || { echo "tests/browser: apt-get could not install chromium:" >&2; tail -3 "$log" >&2; }
rm -f "$log"
exit 0
