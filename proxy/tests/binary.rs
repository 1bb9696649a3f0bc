//! The binary as cargo built it. Also what makes `cargo test` build it at all: the suites in `tests/` run it as a child.

use std::process::Command;

#[test]
fn the_binary_says_what_it_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_transom")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("transom {}", env!("CARGO_PKG_VERSION")));
}
