//! What is printed: tables for people, JSON for scripts.

use std::io::{self, Write};

use larder_server::api::Instance;
use serde::Serialize;

use crate::failure::Failure;

/// Prints one line and sends it off at once.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints a document on one line.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(document).expect("texts and numbers can always be written"))
}

/// Prints columns side by side, each as wide as its widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    let lines: Vec<String> =
        [head].into_iter().chain(rows).map(|row| aligned(row, &widths)).collect();
    line(&lines.join("\n"))
}

fn aligned<const N: usize>(cells: [&str; N], widths: &[usize; N]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Where an instance is reached, as people write it.
pub(crate) fn address(instance: &Instance) -> String {
    let host = instance.host.as_deref().or(instance.ip.as_deref()).unwrap_or("-");
    match instance.port.or(instance.secure_port) {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The text, or a dash where there is none. Control characters, which could do anything to a
/// terminal, are replaced.
pub(crate) fn cell(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|letter| if letter.is_control() { '\u{FFFD}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(aligned(["a", "b"], &[3, 1]), "a    b");
        assert_eq!(aligned(["a", ""], &[1, 9]), "a");
    }

    #[test]
    fn a_cell_can_do_nothing_to_the_terminal() {
        assert_eq!(cell("\u{1b}[2Jx"), "\u{FFFD}[2Jx");
        assert_eq!(cell(""), "-");
    }
}
