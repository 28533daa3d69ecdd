#!/bin/bash
# Ends the daemons that start.sh DIR started, gateway first, by their recorded pids, and removes DIR.
set -u
dir=$1
alive() { [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF "$dir/ceph.conf"; }
for pid in $(tac "$dir/pids" 2>/dev/null); do
  # Nothing in it is needed again, so nothing waits for an orderly end.
  alive "$pid" && kill -KILL "$pid"
done
rm -rf "$dir"
