//! DDPMODE_MESSAGE, together with the C interface.

mod common;

use std::path::Path;
use std::process::Command;

use common::{library, room, run};

#[test]
fn messages_are_for_the_c_interface() {
    let directory = library().parent().expect("it is in a directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--lib", "--manifest-path"])
        .arg(room().join("../capi/Cargo.toml"))
        .arg("--target-dir")
        .arg(directory.parent().expect("the directory of all profiles"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    run(&mut cargo);
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("message-prefix");
    run(Command::new("sh")
        .arg(room().join("../capi/install.sh"))
        .arg(&prefix)
        .env("UWARP_LIBRARIES", directory));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("message");
    run(Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-clobbered", "-Wno-unused-function"])
        .arg("-I")
        .arg(room().join("include"))
        .arg("-I")
        .arg(prefix.join("include"))
        .arg(room().join("tests/c/message.c"))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(prefix.join("lib"))
        .args(["-luwarp", "-lpthread"]));
    let said = run(Command::new(&program)
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .env("LD_PRELOAD", library())
        .env("UWARP_DDP", "all")
        .env("UWARP_LISTEN", "all"));
    assert_eq!(said, "done\n");
}
