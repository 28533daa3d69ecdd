#!/bin/bash
# Boots a throw-away one-node Ceph (one mon, one OSD, all on loopback and in DIR) and its S3 server radosgw.
#   start.sh DIR PORT ACCESS_KEY SECRET_KEY
# Uses PORT to PORT + 2, and PORT + 10 to PORT + 60 for the OSD. Writes DIR/pids, for stop.sh, as it goes.
# Debian: ceph-mon ceph-osd ceph-common radosgw. Needs root, as Ceph's daemons do here.
set -euo pipefail
dir=$1 port=$2 access_key=$3 secret_key=$4
conf=$dir/ceph.conf admin=$dir/admin.keyring
mkdir -p "$dir"/{mon,osd,rgw,log,run}

cat >"$conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:127.0.0.1:$((port + 1))/0,v1:127.0.0.1:$((port + 2))/0]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = $((port + 10))
ms_bind_port_max = $((port + 60))
ms_bind_ipv6 = false
auth_allow_insecure_global_id_reclaim = false
# One copy on one OSD is all that a test needs, and few placement groups boot sooner.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_memory_target = 939524096
bluestore_block_create = true
bluestore_block_size = 21474836480
# Found without luck: the default waits are for clusters of many machines.
paxos_propose_interval = 0.1
paxos_min_wait = 0.01
mon_tick_interval = 1
osd_heartbeat_interval = 1
run_dir = $dir/run
log_file = $dir/log/\$name.log
admin_socket = $dir/run/\$name.\$pid.asok
keyring = $admin
[mon]
mon_data = $dir/mon
[osd]
osd_data = $dir/osd
keyring = $dir/osd/keyring
[client.rgw.test]
keyring = $dir/rgw/keyring
rgw_data = $dir/rgw
# Else each small answer waits 40 ms for an acknowledgement.
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
CONF

spawn() { # NAME COMMAND…
  setsid nohup "${@:2}" >"$dir/log/$1.console" 2>&1 </dev/null &
  echo $! >>"$dir/pids"
}
wait_for() { # WHAT COMMAND…: up to a minute
  for _ in $(seq 300); do "${@:2}" >/dev/null 2>&1 && return; sleep 0.2; done
  echo "$1 did not come up; see $dir/log" >&2
  exit 1
}
admin() { ceph --conf "$conf" --keyring "$admin" --connect-timeout 5 "$@"; }
osd_is_up() { admin osd stat | grep -q '1 up'; }

ceph-authtool --create-keyring "$admin" --gen-key -n client.admin \
  --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool --create-keyring "$dir/mon.keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool "$dir/mon.keyring" --import-keyring "$admin" >/dev/null
# The OSD's and the gateway's keys go in with the first map: no later round trips.
ceph-authtool --create-keyring "$dir/osd/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' >/dev/null
ceph-authtool --create-keyring "$dir/rgw/keyring" --gen-key -n client.rgw.test --cap mon 'allow rw' --cap osd 'allow rwx' >/dev/null
ceph-authtool "$dir/mon.keyring" --import-keyring "$dir/osd/keyring" >/dev/null
ceph-authtool "$dir/mon.keyring" --import-keyring "$dir/rgw/keyring" >/dev/null
monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$conf")" \
  --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" "$dir/monmap" >/dev/null
ceph-mon --conf "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/mon.keyring"
spawn mon ceph-mon --conf "$conf" -i a -f
wait_for ceph-mon admin -s
osd_uuid=$(cat /proc/sys/kernel/random/uuid)
admin osd new "$osd_uuid" 0 >/dev/null
ceph-osd --conf "$conf" -i 0 --mkfs --osd-uuid "$osd_uuid" >/dev/null 2>"$dir/log/osd-mkfs.console"
spawn osd ceph-osd --conf "$conf" -i 0 -f
wait_for ceph-osd osd_is_up
spawn rgw radosgw --conf "$conf" -n client.rgw.test -f
wait_for radosgw curl -sf -o /dev/null "http://127.0.0.1:$port/"
radosgw-admin --conf "$conf" --keyring "$admin" user create \
  --uid=test --display-name=test --access-key="$access_key" --secret-key="$secret_key" >/dev/null 2>&1
