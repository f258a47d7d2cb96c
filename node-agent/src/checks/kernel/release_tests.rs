use std::cmp::Ordering::{Equal, Greater, Less};

use super::*;

fn flavour(text: &str) -> Option<(String, Rules)> {
    Release::parse(text).map(|release| (release.flavour, release.rules))
}

#[test]
fn releases_tell_their_flavour() {
    for (text, expected, rules) in [
        ("6.1.0-13-amd64", "amd64", Rules::Debian),
        ("6.1.0-13-cloud-amd64", "cloud-amd64", Rules::Debian),
        ("6.1.0-13-rt-amd64", "rt-amd64", Rules::Debian),
        ("6.1.0-0.deb11.13-arm64", "arm64", Rules::Debian),
        ("6.7-rc3-amd64", "amd64", Rules::Debian),
        ("5.15.0-91-generic", "generic", Rules::Debian),
        ("5.15.0-1051-aws", "aws", Rules::Debian),
        ("6.5.11-7-pve", "pve", Rules::Debian),
        ("5.14.0-362.8.1.el9_3.x86_64", "el.x86_64+", Rules::Rpm),
        (
            "5.14.0-362.8.1.el9_3.x86_64+debug",
            "el.x86_64+debug",
            Rules::Rpm,
        ),
        (
            "4.18.0-513.5.1.rt7.307.el8_9.x86_64",
            "rt.el.x86_64+",
            Rules::Rpm,
        ),
        (
            "5.15.0-200.131.27.el9uek.x86_64",
            "eluek.x86_64+",
            Rules::Rpm,
        ),
        ("6.6.7-200.fc39.aarch64", "fc.aarch64+", Rules::Rpm),
        ("6.1.66-91.160.amzn2023.x86_64", "amzn.x86_64+", Rules::Rpm),
        ("5.14.21-150500.55.39-default", "default", Rules::Rpm),
        ("6.6.7-1-default", "default", Rules::Rpm),
        ("6.6.8-arch1-1", "arch", Rules::Rpm),
        ("6.6.8-zen1-1-zen", "zen-zen", Rules::Rpm),
        ("6.1.69-1-lts", "lts", Rules::Rpm),
    ] {
        assert_eq!(flavour(text), Some((expected.to_owned(), rules)), "{text}");
    }
    for text in [
        "",
        "linux",
        "6.1.58+",
        "6.1.58",
        "6.1.0--amd64",
        "6.1.0-13-amd64;reboot",
        "../x",
    ] {
        assert_eq!(flavour(text), None, "{text}");
    }
}

#[test]
fn releases_are_compared_within_a_flavour_only() {
    let compare = |one: &str, two: &str| {
        Release::parse(one)
            .unwrap()
            .compare(&Release::parse(two).unwrap())
    };
    for (one, two, expected) in [
        ("6.1.0-14-amd64", "6.1.0-13-amd64", Some(Greater)),
        ("6.1.0-9-amd64", "6.1.0-13-amd64", Some(Less)),
        ("6.1.0-14-cloud-amd64", "6.1.0-13-amd64", None),
        ("5.15.0-1051-aws", "5.15.0-91-generic", None),
        ("6.5.0-14-generic", "5.15.0-91-generic", Some(Greater)),
        ("6.7-rc3-amd64", "6.7-amd64", Some(Less)),
        ("6.7-rc3-amd64", "6.6-amd64", Some(Greater)),
        (
            "5.14.0-362.13.1.el9_3.x86_64",
            "5.14.0-362.8.1.el9_3.x86_64",
            Some(Greater),
        ),
        (
            "5.14.0-427.el9.x86_64",
            "4.18.0-513.el8.x86_64",
            Some(Greater),
        ),
        (
            "5.14.0-362.13.1.el9_3.x86_64+debug",
            "5.14.0-362.8.1.el9_3.x86_64",
            None,
        ),
        (
            "5.15.0-200.131.27.el9uek.x86_64",
            "5.14.0-362.8.1.el9_3.x86_64",
            None,
        ),
        (
            "6.6.7-200.fc39.x86_64",
            "6.6.7-100.fc38.x86_64",
            Some(Greater),
        ),
        (
            "5.14.21-150500.55.44-default",
            "5.14.21-150500.55.39-default",
            Some(Greater),
        ),
        ("6.6.10-1-default", "6.6.9-1-default", Some(Greater)),
        ("6.6.8-arch1-1", "6.6.10-arch1-1", Some(Less)),
        ("6.6.8-arch2-1", "6.6.8-arch1-1", Some(Greater)),
        ("6.6.8-zen1-1-zen", "6.6.7-arch1-1", None),
    ] {
        assert_eq!(compare(one, two), expected, "{one} {two}");
        assert_eq!(
            compare(two, one),
            expected.map(Ordering::reverse),
            "{two} {one}"
        );
        assert_eq!(compare(one, one), Some(Equal), "{one}");
    }
}

#[test]
fn debian_versions_are_ordered_as_dpkg_orders_them() {
    // From the tests of dpkg and of the policy manual's section on versions.
    for (one, two, expected) in [
        ("1.0", "1.0", Equal),
        ("1.0", "1.00", Equal),
        ("1.2", "1.10", Less),
        ("1.0~rc1", "1.0", Less),
        ("1.0~rc1", "1.0~rc2", Less),
        ("1.0~~", "1.0~", Less),
        ("1.0~~a", "1.0~", Less),
        ("1.0~", "1.0", Less),
        ("1.0", "1.0a", Less),
        ("1.0a", "1.0+", Less),
        ("1.0+b1", "1.0.1", Less),
        ("a", "b", Less),
        ("0:0", "0.0", Greater),
        (
            "99999999999999999999999999",
            "100000000000000000000000000",
            Less,
        ),
    ] {
        assert_eq!(debian(one, two), expected, "{one} {two}");
        assert_eq!(debian(two, one), expected.reverse(), "{two} {one}");
    }
}

#[test]
fn rpm_versions_are_ordered_as_rpm_orders_them() {
    // From rpm's own tests (tests/rpmvercmp.at).
    for (one, two, expected) in [
        ("1.0", "1.0", Equal),
        ("1.0", "2.0", Less),
        ("2.0.1", "2.0", Greater),
        ("2.0.1a", "2.0.1", Greater),
        ("5.5p1", "5.5p2", Less),
        ("5.5p10", "5.5p1", Greater),
        ("10xyz", "10.1xyz", Less),
        ("xyz10", "xyz10.1", Less),
        ("xyz.4", "8", Less),
        ("5.5p2", "5.6p1", Less),
        ("6.0.rc1", "6.0", Greater),
        ("10b2", "10a1", Greater),
        ("1.0aa", "1.0a", Greater),
        ("10.0001", "10.1", Equal),
        ("10.0001", "10.0039", Less),
        ("4.999.9", "5.0", Less),
        ("20101122", "20101121", Greater),
        ("2_0", "2.0", Equal),
        ("a+", "a_", Equal),
        ("+", "_", Equal),
        ("1.0~rc1", "1.0", Less),
        ("1.0~rc1", "1.0~rc2", Less),
        ("1.0~rc1~git123", "1.0~rc1", Less),
        ("1.0^", "1.0", Greater),
        ("1.0^git1", "1.0^git2", Less),
        ("1.0^git1", "1.01", Less),
        ("1.0^20160101", "1.0.1", Less),
        ("1.0~rc1^git1", "1.0~rc1", Greater),
    ] {
        assert_eq!(rpm(one, two), expected, "{one} {two}");
        assert_eq!(rpm(two, one), expected.reverse(), "{two} {one}");
    }
}
