//! Capture files of every format and link type, and files that are none.

mod common;

use common::dump::{dump, of_kind};
use common::file::{self, ETHERNET, Format};
use common::talk::{I, R, Talk, Wrap};
use common::ulpdu::{send, write};
use serde_json::Value;
use uwarp_inspect::Summary;

/// A sound connection with a message each way.
fn talk(wrap: Wrap, six: bool) -> Talk {
    let mut talk = Talk::silent(1);
    talk.wrap = wrap;
    if six {
        talk.addresses = [
            "fd00::1".parse().unwrap(),
            "fd00:0:0:0:1:2:3:4".parse().unwrap(),
        ];
    }
    talk.connect();
    talk.set_up();
    talk.say(I, &send(1, b"one way"));
    talk.say(R, &write(0x1000, &[3; 1000]));
    talk
}

/// What the dump of such a connection holds, but for the connection's addresses.
fn gist(lines: &[Value]) -> Vec<Value> {
    let others = lines.iter().filter(|line| line["kind"] != "connection");
    others
        .cloned()
        .map(|mut line| {
            line["source"] = Value::Null;
            line
        })
        .collect()
}

fn check(summary: &Summary) {
    assert_eq!((summary.connections, summary.fpdus), (1, 2));
    assert!(summary.violations.is_empty());
}

#[test]
fn every_format_gives_the_same() {
    let talk = talk(Wrap::Ethernet, false);
    let write = |format: Format| format.write(ETHERNET, 1 << 18, &talk.packets);
    let (due, _) = dump(&write(Format::PLAIN)).unwrap();
    for format in Format::all() {
        let (mut lines, summary) = dump(&write(format)).unwrap();
        check(&summary);
        if !format.nanoseconds {
            // The times of these packets are whole microseconds.
            assert!(talk.packets.iter().all(|(time, _)| time % 1000 == 0));
        }
        // How many packets there are is not told of a block that is not one.
        lines.truncate(due.len());
        assert_eq!(gist(&lines), gist(&due), "{format:?}");
    }
    let times: Vec<_> = of_kind(&due, "fpdu")
        .iter()
        .map(|line| line["time"].as_u64().unwrap())
        .collect();
    let sent: Vec<_> = talk.packets[4..].iter().map(|(time, _)| *time).collect();
    assert_eq!(times, sent);
}

#[test]
fn every_link_type_gives_the_same() {
    let (due, _) =
        dump(&Format::PLAIN.write(ETHERNET, 1 << 18, &talk(Wrap::Ethernet, false).packets))
            .unwrap();
    for (wrap, link) in [
        (Wrap::Ethernet, file::ETHERNET),
        (Wrap::Vlan, file::ETHERNET),
        (Wrap::DoubleVlan, file::ETHERNET),
        (Wrap::Raw, file::RAW),
        (Wrap::Null, file::NULL),
        (Wrap::Loop, file::LOOP),
        (Wrap::Sll, file::LINUX_SLL),
        (Wrap::Sll2, file::LINUX_SLL2),
    ] {
        for six in [false, true] {
            let talk = talk(wrap, six);
            let (lines, summary) =
                dump(&Format::PLAIN.write(link, 1 << 18, &talk.packets)).unwrap();
            check(&summary);
            assert_eq!(gist(&lines), gist(&due), "{wrap:?} {six}");
            let connection = of_kind(&lines, "connection")[0];
            let first = if six {
                "[fd00::1]:40001"
            } else {
                "10.0.0.1:40001"
            };
            assert_eq!(connection["first"], first);
        }
    }
    for (link, six) in [(file::IPV4, false), (file::IPV6, true)] {
        let packets = talk(Wrap::Raw, six).packets;
        check(
            &dump(&Format::PLAIN.write(link, 1 << 18, &packets))
                .unwrap()
                .1,
        );
    }
}

/// Sections one after another, of other byte orders and units of time, each with interfaces of its own.
#[test]
fn a_file_may_have_several_sections() {
    let talk = talk(Wrap::Ethernet, false);
    let (first, second) = talk.packets.split_at(3);
    let mut file = Vec::new();
    for (packets, big_endian) in [(first, false), (second, true)] {
        let format = Format {
            ng: true,
            big_endian,
            nanoseconds: big_endian,
        };
        file.extend(format.write(ETHERNET, 1 << 18, packets));
    }
    let (lines, summary) = dump(&file).unwrap();
    check(&summary);
    let last = of_kind(&lines, "fpdu")[1]["time"].as_u64().unwrap();
    assert_eq!(last, talk.packets.last().unwrap().0);
}

/// A file that ends anywhere: what is before is told, and that it ends.
#[test]
fn a_file_may_end_anywhere() {
    let talk = talk(Wrap::Ethernet, false);
    for format in Format::all() {
        let file = format.write(ETHERNET, 1 << 18, &talk.packets);
        let mut packets = 0;
        for len in (0..200).chain((200..file.len()).step_by(7)) {
            match dump(&file[..len]) {
                Ok((_, summary)) => {
                    assert!(summary.packets >= packets, "{format:?} {len}");
                    packets = summary.packets;
                    assert!(summary.violations.is_empty());
                }
                Err(_) => assert!(len < 24 || format.ng && len < 80, "{format:?} {len}"),
            }
        }
        assert!(packets >= talk.packets.len() as u64 - 1, "{format:?}");
        let (_, summary) = dump(&file[..file.len() - 1]).unwrap();
        assert!(summary.capture_cut);
    }
}

#[test]
fn what_is_no_capture_is_told_with_a_remedy() {
    let text = |file: &[u8]| dump(file).unwrap_err().to_string();
    let garbage: Vec<u8> = (0..5000u32).map(|at| ((at * at) >> 3) as u8).collect();
    for file in [
        &garbage[..],
        b"just a text file, much longer than 24 octets",
        b"abcd",
    ] {
        assert!(
            text(file).contains("neither a pcap nor a pcapng"),
            "{}",
            text(file)
        );
        assert!(text(file).contains("tcpdump -w"));
    }
    assert!(text(b"").contains("only 0 octets"));
    assert!(text(&Format::PLAIN.write(ETHERNET, 1, &[])[..20]).contains("only 20 octets"));
    let gzip = [&[0x1f, 0x8b, 8, 0][..], &garbage].concat();
    assert!(text(&gzip).contains("compressed by gzip; unpack it"));

    // A link type that nobody knows.
    let packets = talk(Wrap::Ethernet, false).packets;
    let radio = text(&Format::PLAIN.write(127, 1 << 18, &packets));
    assert!(
        radio.contains("link type 127") && radio.contains("capture on"),
        "{radio}"
    );

    // An impossible length in the middle.
    let mut damaged = Format::PLAIN.write(ETHERNET, 1 << 18, &packets);
    let at = 24 + 16 + packets[0].1.len();
    damaged[at + 8..at + 12].fill(0xff);
    let told = text(&damaged);
    assert!(
        told.contains("damaged behind octet") || told.contains("neither"),
        "{told}"
    );

    let missing = uwarp_inspect::Args {
        capture: "/nowhere/at/all.pcap".into(),
        json: false,
        quiet: false,
    };
    let told = uwarp_inspect::run(&missing, &mut Vec::new()).unwrap_err();
    assert!(told.to_string().starts_with("/nowhere/at/all.pcap: "));
}

/// A capture without packets is a capture.
#[test]
fn an_empty_capture_is_clean() {
    for format in Format::all() {
        let (lines, summary) = dump(&format.write(ETHERNET, 1 << 18, &[])).unwrap();
        assert_eq!((lines.len(), summary.packets), (1, 0));
    }
}

/// Packets that were not captured to their end: what there is is followed, and nobody is blamed.
#[test]
fn cut_packets_break_no_rule() {
    let mut talk = talk(Wrap::Ethernet, false);
    for msn in 2..200 {
        talk.say(I, &send(msn, &[msn as u8; 700]));
        talk.say(R, &send(msn - 1, b"thanks"));
    }
    talk.fin(I);
    talk.fin(R);
    for snaplen in [20, 40, 60, 70, 82, 100, 120, 200, 400, 700, 782] {
        let (lines, summary) =
            dump(&Format::PLAIN.write(ETHERNET, snaplen, &talk.packets)).unwrap();
        assert!(summary.packets_cut > 0);
        assert_eq!(
            of_kind(&lines, "violation"),
            Vec::<&Value>::new(),
            "{snaplen}"
        );
        if snaplen >= 200 {
            // All that the responder has sent is there; so is the first Send. At last only its Write is cut.
            let whole = if snaplen > 778 { 397 } else { 199 };
            assert_eq!(summary.operations["Send"].messages, whole, "{snaplen}");
        }
    }
}
