//! The original, run beside: `go-micro/` built with Go.

use std::path::PathBuf;
use std::process::Command;

use larder_bench::child;

/// The program around go-micro's cache, or why there is none.
pub struct GoMicro(Result<PathBuf, String>);

impl GoMicro {
    /// Builds it beside this program.
    pub fn build() -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let program = this.with_file_name("go-micro");
        let built = Command::new("go")
            .args(["build", "-mod=readonly", "-trimpath", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go-micro"))
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
        numbers.try_into().expect("go-micro/ prints as many numbers as are read")
    }

    /// Why it was not measured.
    pub fn trouble(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}
