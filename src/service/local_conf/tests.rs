use super::*;

const FILE: &str = r#"{
  "physical": {
    "10.0.0.0/8": { "blacklist": true },
    "192.168.1.77/24": { "trustedPathId": "101010024", "mtu": 9000 },
    "fd00::/8": {}
  },
  "virtual": {
    "feedbeef12": { "try": [ "10.10.20.1/9993", "2001:db8::1/9994" ], "blacklist": ["10.0.0.0/8"] }
  },
  "settings": {
    "primaryPort": 9995, "secondaryPort": "0", "allowSecondaryPort": 1,
    "portMappingEnabled": true, "allowTcpFallbackRelay": false,
    "softwareUpdate": "disable", "defaultBondingPolicy": "none",
    "bind": [ "192.0.2.1", "::" ],
    "interfacePrefixBlacklist": [ "br-lan", "wg" ],
    "allowManagementFrom": [ "192.168.0.0/16" ],
    "lowBandwidthMode": "true",
    "somethingNew": [ { "deep": null } ],
    "router": { "controlTcp": 9996, "controlGroup": "zt", "controlReadOnly": true,
                "logLevel": "debug", "peerCache": 0, "stateDir": "/tmp/zt", "own": 1 }
  },
  "comment": "kept"
}"#;

fn conf(text: &str) -> LocalConf {
    match LocalConf::parse(text.as_bytes()) {
        Ok((conf, _)) => conf,
        Err(bad) => panic!("{bad}"),
    }
}

fn settings(text: &str) -> Settings {
    conf(&format!("{{\"settings\":{{{text}}}}}")).settings
}

fn bad(text: &str) -> String {
    match LocalConf::parse(text.as_bytes()) {
        Ok((conf, _)) => panic!("{conf:?}"),
        Err(bad) => bad.to_string(),
    }
}

#[test]
fn everything_is_read() {
    let conf = conf(FILE);
    let nets: Vec<String> = conf
        .underlay
        .physical
        .iter()
        .map(|p| format!("{} {} {} {}", p.net, p.blacklist, p.trusted_path_id, p.mtu))
        .collect();
    assert_eq!(
        nets,
        [
            "10.0.0.0/8 true 0 0",
            "192.168.1.0/24 false 101010024 9000",
            "fd00::/8 false 0 0"
        ]
    );
    let peer = conf.underlay.peers.first().expect("a peer");
    assert_eq!(peer.address.to_string(), "feedbeef12");
    let places: Vec<String> = peer.try_at.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["10.10.20.1:9993", "[2001:db8::1]:9994"]);
    assert_eq!(peer.blacklist.len(), 1);
    assert!(conf.underlay.low_bandwidth);
    let settings = conf.settings;
    assert_eq!(
        (
            settings.primary_port,
            settings.second_port(),
            settings.third_port()
        ),
        (Some(9995), Some(0), None)
    );
    assert_eq!(settings.bind.len(), 2);
    assert_eq!(settings.interface_prefix_blacklist, ["br-lan", "wg"]);
    assert_eq!(
        settings.not_built,
        ["portMappingEnabled", "router.stateDir"]
    );
    let router = settings.router;
    assert_eq!(router.control_tcp, Some(ControlTcp::Port(9996)));
    assert_eq!(router.control_group.as_deref(), Some("zt"));
    assert!(router.control_read_only && router.metrics.is_none());
    assert_eq!(router.log_level, Some(log::LevelFilter::Debug));
    assert_eq!(router.peer_cache, Some(false));
    assert!(conf.doubts.is_empty());
}

#[test]
fn nothing_says_nothing() {
    for text in ["", " \n", "{}", "\u{feff}{}", "{\"settings\":null}"] {
        assert_eq!(conf(text), LocalConf::default(), "{text}");
    }
}

#[test]
fn values_are_lenient() {
    for (value, on) in [
        ("true", true),
        ("1", true),
        ("0.5", true),
        ("\"T\"", true),
        ("\"1x\"", true),
        ("false", false),
        ("0", false),
        ("-3", false),
        ("0e9", false),
        ("\"yes\"", false),
        ("\"\"", false),
        ("null", false),
    ] {
        let read = settings(&format!("\"lowBandwidthMode\":{value}"));
        assert_eq!(read.low_bandwidth_mode, on, "{value}");
    }
    for (value, port) in [("7", 7), ("\" 65535 \"", 65_535), ("true", 1), ("0", 0)] {
        let read = settings(&format!("\"primaryPort\":{value}"));
        assert_eq!(read.primary_port, Some(port), "{value}");
    }
}

#[test]
fn a_second_port_only_if_somebody_wants_it() {
    let second = |text: &str| settings(text).second_port();
    assert_eq!(second(""), None);
    assert_eq!(second("\"secondaryPort\":7"), Some(7));
    assert_eq!(second("\"allowSecondaryPort\":true"), Some(0));
    assert_eq!(
        second("\"allowSecondaryPort\":false,\"secondaryPort\":7"),
        None
    );
    assert_eq!(settings("\"tertiaryPort\":0").third_port(), None);
    assert_eq!(settings("\"tertiaryPort\":8").third_port(), Some(8));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, wanted) in [
        ("[]", "line 1, column 1: an object is expected"),
        (
            "{\n \"settings\": {\n  \"primaryPort\" 1}}",
            "line 3, column 17: ':' is expected",
        ),
        (
            "{\n \"settings\": {\n  \"bind\": [\n   \"1.2.3.4\",\n   \"x\"]}}",
            "line 5, column 4: an IP address is expected",
        ),
        (
            "{\"settings\":{\"primaryPort\":65536}}",
            "line 1, column 28: a whole number from 0 to 65535 is expected",
        ),
        (
            "{\"settings\":{\"router\":{\"logLevel\":\"loud\"}}}",
            "line 1, column 35: levels are off, error, warn, info, debug, trace",
        ),
        (
            "{\"virtual\":{\"feedbeef12\":{\"try\":[\"h/1\"]}}}",
            "line 1, column 34: an address such as 192.0.2.1/9993 is expected",
        ),
        (
            "{\"physical\":{\"10.0.0.0/8\":7}}",
            "line 1, column 27: an object is expected",
        ),
        (
            "{\"settings\":{\"interfacePrefixBlacklist\":[\"\"]}}",
            "line 1, column 42: the beginning of an interface name is expected",
        ),
    ] {
        assert_eq!(bad(text), wanted, "{text}");
    }
    let nets: Vec<String> = (0..=underlay::NETS_MAX)
        .map(|n| format!("\"10.{n}.0.0/16\":{{}}"))
        .collect();
    assert_eq!(
        bad(&format!("{{\"physical\":{{{}}}}}", nets.join(","))),
        "line 1, column 13: at most 32 nets"
    );
    let Err(long) = LocalConf::parse(&[b' '; FILE_MAX_BYTES + 1]) else {
        panic!("too long and taken")
    };
    assert_eq!(long.to_string(), "longer than 16 KiB");
    let Err(no_text) = LocalConf::parse(b"{\n\"\xff\":1}") else {
        panic!("no text and taken")
    };
    assert_eq!(no_text.to_string(), "line 2, column 2: no UTF-8");
}

#[test]
fn names_that_are_no_nets_or_addresses_are_doubted_and_left() {
    let conf = conf("{\"physical\":{\"lan\":{}},\"virtual\":{\"me\":{}}}");
    assert_eq!(conf.doubts.len(), 2);
    assert_eq!(conf.underlay, Underlay::default());
}

#[test]
fn the_old_file_of_trusted_paths_adds_to_the_nets() {
    let mut conf = conf(
        "{\"physical\":{\"10.1.0.0/16\":{\"trustedPathId\":7},\"10.2.0.0/16\":{\"mtu\":1500}}}",
    );
    let text = "1f=10.1.0.0/16\r\n2f=10.2.0.9/16\n\nff = fd00::/8\n0=10.3.0.0/16\n5=0.0.0.0/0\nx\n";
    let mut bad = Vec::new();
    conf.add_trusted_paths(text, &mut |line| bad.push(line));
    assert_eq!(bad, [5, 6, 7]);
    let nets: Vec<String> = (conf.underlay.physical.iter())
        .map(|p| format!("{} {:x} {}", p.net, p.trusted_path_id, p.mtu))
        .collect();
    assert_eq!(
        nets,
        ["10.1.0.0/16 7 0", "10.2.0.0/16 2f 1500", "fd00::/8 ff 0"]
    );
    let many: String = (0..100).map(|n| format!("1=10.{n}.0.0/24\n")).collect();
    conf.add_trusted_paths(&many, &mut |_| {});
    assert_eq!(conf.underlay.physical.len(), underlay::NETS_MAX);
}
