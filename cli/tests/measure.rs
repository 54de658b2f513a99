//! `uwarp ping` and `uwarp bench` measure, and say it in a form that programs can read. How fast it is, is not
//! tested.

mod common;

use common::{Server, run};
use serde_json::Value;

fn parse(out: &str) -> Value {
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(out).unwrap()
}

#[test]
fn ping_gives_ordered_percentiles_of_each_operation() {
    let server = Server::start(&[]);
    for size in ["1", "64", "1M"] {
        let count = ["--count", "20", "--size", size, "--json"];
        let args = ["ping", &server.address].into_iter().chain(count);
        let json = parse(&run(args).succeeded());
        assert_eq!(json["count"], 20);
        let latencies = json["latencies"].as_array().unwrap();
        let operations: Vec<_> = latencies
            .iter()
            .map(|latency| latency["operation"].as_str().unwrap())
            .collect();
        assert_eq!(operations, ["send", "write+send", "read"]);
        for latency in latencies {
            let times = ["p50", "p90", "p99", "max"]
                .map(|percentile| latency[percentile].as_f64().unwrap());
            assert!(times[0] > 0.0 && times.is_sorted(), "{latency}");
        }
    }
}

#[test]
fn ping_prints_a_table() {
    let server = Server::start(&["--no-crc"]);
    let out = run(["ping", &server.address, "--count", "5", "--no-crc"]).succeeded();
    assert!(out.contains("CRC off"), "{out}");
    for word in ["p50", "p90", "p99", "max", "send", "write+send", "read"] {
        assert!(out.contains(word), "{word} in {out}");
    }
}

#[test]
fn bench_compares_with_plain_tcp() {
    let counts = ["bench", "--rounds", "5", "--writes", "4", "--sends", "20"];
    let json = parse(&run(counts.into_iter().chain(["--json"])).succeeded());
    let contestants = json["contestants"].as_array().unwrap();
    let names: Vec<_> = contestants
        .iter()
        .map(|contestant| contestant["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["plain TCP", "RDMA with CRC", "RDMA without CRC"]);
    for contestant in contestants {
        for rounds in ["throughput", "round_trip_us"] {
            assert_eq!(contestant[rounds].as_array().unwrap().len(), 5);
        }
        assert!(contestant["throughput_median"].as_f64().unwrap() > 0.0);
        assert!(contestant["round_trip_us_median"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(contestants[0]["throughput_ratio"], 1.0);
    let table = run(counts).succeeded();
    for name in names {
        assert!(table.contains(name), "{table}");
    }
}
