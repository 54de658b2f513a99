//! Programs in C and Python that use the library as it is installed.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Installed, Kind, room, run};

fn example() -> PathBuf {
    room().join("examples/session.c")
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs a program under valgrind, if there is one; every error and every block that is lost ends it.
fn run_with_valgrind(installed: &Installed, program: &std::path::Path) -> Option<String> {
    if !has("valgrind") {
        eprintln!("no valgrind here: not tried");
        return None;
    }
    let mut command = installed.command("valgrind");
    command.args([
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
        "--fair-sched=yes",
    ]);
    Some(run(command.arg(program)))
}

#[test]
fn the_example_runs_with_the_shared_library() {
    let installed = Installed::new();
    let program = installed.compile(&example(), Kind::Shared, &[]);
    let said = run(&mut installed.command(&program));
    assert!(said.ends_with("done\n"), "{said}");
    let linked = run(Command::new("readelf").arg("-d").arg(&program));
    assert!(linked.contains("[libuwarp.so.0.1]"), "{linked}");
    if let Some(said) = run_with_valgrind(&installed, &program) {
        assert!(said.ends_with("done\n"), "{said}");
    }
}

#[test]
fn the_example_runs_with_the_static_library() {
    let installed = Installed::new();
    let program = installed.compile(&example(), Kind::Static, &[]);
    let linked = run(Command::new("readelf").arg("-d").arg(&program));
    assert!(!linked.contains("libuwarp"), "{linked}");
    // Nothing has to be found for it.
    let said = run(&mut Command::new(&program));
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn wrong_use_is_an_error_and_nothing_else() {
    let installed = Installed::new();
    let program = installed.compile(&room().join("tests/misuse.c"), Kind::Shared, &[]);
    run(&mut installed.command(&program));
    run_with_valgrind(&installed, &program);
}

#[test]
fn sockets_and_queues_of_the_programs_own() {
    let installed = Installed::new();
    let program = installed.compile(&room().join("tests/descriptors.c"), Kind::Shared, &[]);
    run(&mut installed.command(&program));
    run_with_valgrind(&installed, &program);
}

#[test]
fn the_header_is_good_in_cpp() {
    if !has("c++") {
        eprintln!("no C++ compiler here: not tried");
        return;
    }
    let installed = Installed::new();
    let source = installed.path("header.cc");
    fs::write(
        &source,
        "#include <uwarp.h>\n#include <uwarp.h>\nint main() { return uwarp_domain_destroy(0) == 0; }\n",
    )
    .expect("it can be written");
    let program = installed.path("header");
    run(Command::new("c++")
        .args([
            "-std=c++11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
        ])
        .arg(installed.path("include"))
        .arg("-L")
        .arg(installed.path("lib"))
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .arg("-luwarp"));
    run(&mut installed.command(&program));
}

#[test]
fn python_needs_nothing_but_the_library() {
    if !has("python3") {
        eprintln!("no Python here: not tried");
        return;
    }
    let installed = Installed::new();
    let mut python = installed.command("python3");
    let said = run(python
        .arg(room().join("tests/session.py"))
        .arg(installed.path("lib/libuwarp.so")));
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn what_is_installed_is_what_pkg_config_says() {
    let installed = Installed::new();
    for file in [
        "include/uwarp.h",
        "lib/libuwarp.so",
        "lib/libuwarp.so.0.1",
        "lib/libuwarp.a",
        "lib/pkgconfig/uwarp.pc",
        "share/man/man3/uwarp.3",
        "share/man/man7/uwarp.7",
    ] {
        assert!(installed.path(file).exists(), "{file} was not installed");
    }
    let file = fs::read_to_string(installed.path("lib/pkgconfig/uwarp.pc")).expect("it is there");
    let prefix = installed
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned();
    assert!(file.contains(&format!("prefix={prefix}\n")), "{file}");
    assert!(
        file.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))),
        "{file}"
    );
    let Some(flags) = installed.pkg_config(&["--cflags", "--libs"]) else {
        eprintln!("no pkg-config here: not tried");
        return;
    };
    let program = installed.path("by-pkg-config");
    run(Command::new("cc")
        .args(["-std=c11", "-o"])
        .arg(&program)
        .arg(example())
        .args(flags.split_whitespace())
        .arg("-lpthread"));
    run(&mut installed.command(&program));
}

#[test]
fn the_manual_pages_are_sound() {
    if !has("mandoc") && !has("groff") {
        eprintln!("neither mandoc nor groff here: not tried");
        return;
    }
    for page in ["uwarp.3", "uwarp.7"] {
        let path = room().join("man").join(page);
        let (program, arguments): (_, &[&str]) = if has("groff") {
            ("groff", &["-man", "-Tutf8", "-ww", "-z"])
        } else {
            ("mandoc", &["-Tlint", "-Wwarning"])
        };
        let output = Command::new(program)
            .args(arguments)
            .arg(&path)
            .output()
            .expect("it runs");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(complaints.is_empty(), "{page}: {complaints}");
    }
}
