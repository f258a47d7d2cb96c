#!/bin/sh -e
# First program of a machine of the lab: its network and, for a kubelet, what a container manager
# needs and systemd-nspawn does not give. /etc/lab/env: KIND, NUM, IP, API_PORT.
. /etc/lab/env
ip link set lo up
ip addr replace "$IP/24" dev host0
ip link set host0 up
ip route replace default via 10.99.0.1
[ "$KIND" = kubelet ] || exit 0

# The version 1 controllers are mounted read-only: make this machine's own subtree writable.
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
  for controller in /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw "$controller" 2>/dev/null || true
  done
fi

# The kubelet sets six sysctls that are the host's and read-only here: show it the values it wants.
mkdir -p /run/fakesys
fake() {
  file=/run/fakesys/$(basename "$1")
  echo "$2" > "$file"
  mount --bind "$file" "/proc/sys/$1"
}
fake vm/overcommit_memory 1
fake vm/panic_on_oom 0
fake kernel/panic 10
fake kernel/panic_on_oops 1
fake kernel/keys/root_maxkeys 1000000
fake kernel/keys/root_maxbytes 25000000
# Its watch for out-of-memory kills must be able to open this; only those events are lost.
[ -e /dev/kmsg ] || ln -s /dev/null /dev/kmsg

other=1
while [ "$other" -le 20 ]; do
  [ "$other" = "$NUM" ] || ip route replace "10.244.$other.0/24" via "10.99.0.$((10 + other))"
  other=$((other + 1))
done
echo 1 > /proc/sys/net/ipv4/ip_forward
# In-cluster configuration without kube-proxy: the address of the Service `kubernetes`.
for chain in PREROUTING OUTPUT; do
  iptables -w -t nat -A "$chain" -d 10.96.0.1 -p tcp --dport 443 -j DNAT --to "10.99.0.1:$API_PORT"
done
mkdir -p /etc/cni/net.d
cat > /etc/cni/net.d/10-bridge.conflist <<C
{"cniVersion":"0.4.0","name":"lab","plugins":[{"type":"bridge","bridge":"cni0","isDefaultGateway":true,"ipMasq":false,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":"10.244.$NUM.0/24"}]]}}]}
C
