# Installs Debian packages without starting the services that come with them.
set -euo pipefail
root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

gate=/usr/sbin/policy-rc.d
if [ ! -e "$gate" ]; then
  printf '#!/bin/sh\nexit 101\n' | root tee "$gate" >/dev/null
  root chmod +x "$gate"
  trap 'root rm -f "$gate"' EXIT
fi
root env DEBIAN_FRONTEND=noninteractive sh -c \
  'apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"' sh "$@" >/dev/null
