# Starts one machine, in a mount namespace of its own. Arguments: the machine's cgroups (one word for
# each hierarchy), its image, its directory, then those of systemd-nspawn.
cgroups=$1 image=$2 machine=$3
shift 3
for cgroup in $cgroups; do echo $$ > "$cgroup/cgroup.procs"; done
mount -t overlay overlay \
  -o "lowerdir=$image,upperdir=$machine/upper,workdir=$machine/work" "$machine/root"
exec systemd-nspawn -D "$machine/root" "$@"
