//! Gives the shared library its name for the loader. As long as the version begins with 0, its second number counts
//! as the first one does later: what was linked against 0.1 does not run with 0.2.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let number = |name: &str| std::env::var(name).unwrap_or_default();
    let (major, minor) = (
        number("CARGO_PKG_VERSION_MAJOR"),
        number("CARGO_PKG_VERSION_MINOR"),
    );
    let interface = if major == "0" {
        format!("0.{minor}")
    } else {
        major
    };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libuwarp.so.{interface}");
}
