//! DDPMODE_MESSAGE, together with the C interface.

mod common;

use std::path::Path;
use std::process::Command;

use common::{compiler, libraries, library, room, run};

#[test]
fn messages_are_for_the_c_interface() {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("message-prefix");
    run(Command::new("sh")
        .arg(room().join("../capi/install.sh"))
        .arg(&prefix)
        .env("UWARP_LIBRARIES", libraries()));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("message");
    run(compiler("message.c")
        .arg("-I")
        .arg(prefix.join("include"))
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
