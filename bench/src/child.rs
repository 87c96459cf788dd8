//! A process for each subject, so that nobody works with memory that another one has left behind.

use std::path::Path;
use std::process::Command;

/// Runs this program again with `argument`; gives the numbers that it prints.
pub fn numbers(argument: &str) -> Vec<f64> {
    numbers_of(&std::env::current_exe().expect("this program has a path"), argument)
}

/// Runs `program` with `argument`; gives the numbers that it prints.
pub fn numbers_of(program: &Path, argument: &str) -> Vec<f64> {
    let output = Command::new(program).arg(argument).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(output.status.success(), "{argument}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints numbers");
    text.split_whitespace().flat_map(str::parse).collect()
}

/// Prints numbers for whoever runs this program by [`numbers`].
pub fn say(numbers: &[f64]) {
    println!("{}", numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
}
