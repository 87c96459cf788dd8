//! Tables as Markdown, to be read in a terminal as well.

use std::fmt;

use crate::measure::Contender;

/// A heading and rows of cells.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table without rows.
    pub fn new(heading: &[&str]) -> Self {
        Self(vec![heading.iter().map(ToString::to_string).collect()])
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for (number, row) in self.0.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} |")?,
                    _ => write!(f, " {cell:>width$} |")?,
                }
            }
            writeln!(f)?;
            if number == 0 {
                write!(f, "|")?;
                for (column, width) in widths.iter().enumerate() {
                    let colon = if column == 0 { "-" } else { ":" };
                    write!(f, "-{}{colon}|", "-".repeat(*width))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Contenders with their least and median nanoseconds, and both as multiples of `reference`'s.
pub fn against(reference: &str, contenders: &[Contender<'_>]) -> Table {
    let mut table = Table::new(&["", "ns min", "ns median", "÷ min", "÷ median"]);
    let base = contenders.iter().find(|contender| contender.name == reference);
    let base = &base.expect("the reference is among the contenders").samples;
    for Contender { name, samples, .. } in contenders {
        table.row([
            (*name).to_owned(),
            format!("{:.1}", samples.min()),
            format!("{:.1}", samples.median()),
            format!("{:.2}", samples.min() / base.min()),
            format!("{:.2}", samples.median() / base.median()),
        ]);
    }
    table
}

/// Whether an aim is met, as a line of text.
pub fn aim(what: &str, figure: f64, met: bool, bound: &str) -> String {
    format!("{} {what}: {figure:.2} (aim: {bound})", if met { "met   " } else { "MISSED" })
}
