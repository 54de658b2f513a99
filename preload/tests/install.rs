//! What `install.sh` installs works from where it is.

mod common;

use std::path::Path;
use std::process::Command;

use common::built::libraries_and_command;
use common::{room, run};

/// A directory that goes with the test.
struct Prefix(std::path::PathBuf);

impl Prefix {
    fn new() -> Self {
        let at =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prefix-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir_all(&at).expect("a directory");
        Self(at)
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PROGRAM: &str = r#"
#include <stdio.h>
#include <sys/socket.h>
#include <uwarp-ddpmode.h>
int main(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), mode = DDPMODE_STREAM;
    socklen_t len = sizeof mode;
    if (setsockopt(fd, SOL_DDP, DDPMODE, &mode, sizeof mode) != 0) return 1;
    mode = -1;
    if (getsockopt(fd, SOL_DDP, DDPMODE, &mode, &len) != 0) return 2;
    printf("mode %d\n", mode);
    return 0;
}
"#;

#[test]
fn what_is_installed_works() {
    let prefix = Prefix::new();
    run(Command::new("sh")
        .arg(room().join("install.sh"))
        .arg("/usr/local")
        .env("DESTDIR", &prefix.0)
        .env("UWARP_LIBRARIES", libraries_and_command()));
    let at = prefix.0.join("usr/local");
    assert!(at.join("share/man/man1/uwarp-run.1").exists());

    // The command finds the library that is installed beside it.
    let said = run(Command::new(at.join("bin/uwarp"))
        .args(["run", "--ddp", "80,81", "--", "sh", "-c"])
        .arg("echo $LD_PRELOAD $UWARP_DDP")
        .env_remove("UWARP_PRELOAD"));
    let library = at.join("lib/libuwarp_preload.so");
    let library = library.canonicalize().expect("it is there");
    assert_eq!(said.trim(), format!("{} 80,81", library.display()));

    // A program that is linked with the library, and one that runs under it.
    let source = at.join("program.c");
    std::fs::write(&source, PROGRAM).expect("it can be written");
    for linked in [true, false] {
        let program = at.join("program");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]);
        compiler.arg(at.join("include")).arg(&source).arg("-o");
        compiler.arg(&program);
        if linked {
            let path = at.join("lib");
            compiler.arg("-L").arg(&path).arg("-luwarp_preload");
            compiler.arg(format!("-Wl,-rpath,{}", path.display()));
            run(&mut compiler);
            assert_eq!(run(&mut Command::new(&program)), "mode 1\n");
        } else {
            run(&mut compiler);
            assert!(
                !Command::new(&program)
                    .output()
                    .expect("it runs")
                    .status
                    .success()
            );
            let command = at.join("bin/uwarp");
            let said = run(Command::new(command).args(["run", "--"]).arg(&program));
            assert_eq!(said, "mode 1\n");
        }
    }
}

#[test]
fn the_manual_page_is_sound() {
    let page = room().join("man/uwarp-run.1");
    let tools: [(&str, &[&str]); 2] = [
        ("groff", &["-man", "-Tutf8", "-ww", "-z"]),
        ("mandoc", &["-Tlint", "-Wwarning"]),
    ];
    for (tool, arguments) in tools {
        if let Ok(output) = Command::new(tool).args(arguments).arg(&page).output() {
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(complaints.is_empty(), "{complaints}");
            return;
        }
    }
    eprintln!("neither mandoc nor groff here: not tried");
}

/// Every variable that the library reads is in the manual page.
#[test]
fn the_manual_page_names_every_variable() {
    let page = std::fs::read_to_string(room().join("man/uwarp-run.1")).expect("it is there");
    let source = std::fs::read_to_string(room().join("src/config.rs")).expect("it is there");
    let names = source.split('"').filter(|word| word.starts_with("UWARP_"));
    let mut count = 0;
    for name in names {
        assert!(page.contains(&format!(".B {name}\n")), "{name}");
        count += 1;
    }
    assert!(count > 5);
}
