//! The real program, as a user starts it: included by each test that does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn dashproof(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dashproof"))
        .args(args)
        .current_dir(root())
        .env_remove("DASHPROOF_SCENARIOS")
        .output()
        .unwrap()
}

pub(crate) fn code(output: &Output) -> u8 {
    u8::try_from(output.status.code().expect("no signal")).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
