//! What the root file system of a machine is made of.
//!
//! Everything here goes into the fingerprint of the cached image: a change rebuilds it.

/// What the image holds beside Debian's minimal base: an init system with logind, and what a
/// kubelet needs.
pub(super) const PACKAGES: [&str; 11] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "iproute2",
    "ca-certificates",
    "iptables",
    "mount",
    "containernetworking-plugins",
    "containerd",
    "runc",
];

/// What of these packages nobody reads in a test.
pub(super) const EXCLUDED_PATHS: [&str; 3] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
];

/// Units that a machine of the lab has no use for: each costs time at every boot, and some would
/// reach for the kernel that the machine shares with this computer.
pub(super) const MASKED_UNITS: [&str; 23] = [
    "modprobe@.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "getty.target",
    "console-getty.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-resolved.service",
    "systemd-pstore.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "remote-fs.target",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
];

/// A file that the recipe adds.
pub(super) struct Added {
    pub(super) path: &'static str,
    pub(super) content: &'static str,
    pub(super) executable: bool,
}

const fn text(path: &'static str, content: &'static str) -> Added {
    Added {
        path,
        content,
        executable: false,
    }
}

const fn script(path: &'static str, content: &'static str) -> Added {
    Added {
        path,
        content,
        executable: true,
    }
}

/// The files added to the image; which units start is decided for each machine.
pub(super) const ADDED: [Added; 12] = [
    script("usr/local/bin/lab-prep", include_str!("files/lab-prep.sh")),
    script(
        "usr/local/bin/lab-import",
        include_str!("files/lab-import.sh"),
    ),
    text(
        "etc/systemd/system/lab-prep.service",
        include_str!("files/lab-prep.service"),
    ),
    text(
        "etc/systemd/system/lab-booted.service",
        include_str!("files/lab-booted.service"),
    ),
    text(
        "etc/systemd/system/containerd.service",
        include_str!("files/containerd.service"),
    ),
    text(
        "etc/systemd/system/kubelet.service",
        include_str!("files/kubelet.service"),
    ),
    text(
        "etc/systemd/system/slipway-agent.service",
        include_str!("files/slipway-agent.service"),
    ),
    text(
        "etc/containerd/config.toml",
        include_str!("files/containerd.toml"),
    ),
    text("etc/lab/kubelet.yaml", include_str!("files/kubelet.yaml")),
    // Every machine makes an id of its own at its first boot.
    text("etc/machine-id", ""),
    text("etc/resolv.conf", "# The lab has no name server.\n"),
    // Pods get a writable copy of nothing else from here.
    text("etc/fstab", ""),
];

/// Units that every machine starts.
pub(super) const ENABLED_UNITS: [&str; 2] = ["lab-prep.service", "lab-booted.service"];

/// Where enabled units are linked from.
pub(super) const WANTS: &str = "etc/systemd/system/multi-user.target.wants";
