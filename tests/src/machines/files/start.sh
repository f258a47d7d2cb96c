# Starts one machine, in a mount namespace of its own. Arguments: the machine's cgroups (one word for
# each hierarchy), its image, its directory, its cable, then those of systemd-nspawn.
cgroups=$1 image=$2 machine=$3 cable=$4
shift 4
for cgroup in $cgroups; do echo $$ > "$cgroup/cgroup.procs"; done
# The kernel takes the cable of a killed machine away a moment later, and its name would be taken.
ip link delete "$cable" 2>/dev/null || true
mount -t overlay overlay \
  -o "lowerdir=$image,upperdir=$machine/upper,workdir=$machine/work" "$machine/root"
exec systemd-nspawn -D "$machine/root" "$@"
