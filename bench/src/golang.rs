//! What is written in Go, run beside: a folder of this one, built with Go.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child;

/// A program around a library of Go's, or why there is none.
#[derive(Debug)]
pub struct GoProgram(Result<PathBuf, String>);

impl GoProgram {
    /// Builds it, beside this program.
    pub fn build(folder: &str) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let program = this.with_file_name(folder);
        let built = Command::new("go")
            .args(["build", "-mod=readonly", "-trimpath", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .output();
        Self(match built {
            Ok(output) if output.status.success() => Ok(program),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("Go 1.25 or newer is needed: {error}")),
        })
    }

    /// The numbers that it prints of a subject; as many that are no numbers if it could not be built.
    pub fn numbers<const N: usize>(&self, subject: &str) -> [f64; N] {
        let Ok(program) = &self.0 else { return [f64::NAN; N] };
        let numbers = child::numbers_of(program, subject);
        numbers.try_into().expect("it prints as many numbers as are read")
    }

    /// Where it is, if it could be built.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().ok().map(PathBuf::as_path)
    }

    /// Why it was not measured.
    pub fn trouble(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}
