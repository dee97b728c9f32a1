//! Columns for people.

use crate::{exit::Failure, output};

/// Rows of cells under headings; as wide as their widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Table {
        let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
        Table {
            rows: vec![headings],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let cells = cells.into_iter().map(|cell| output::printable(&cell));
        self.rows.push(cells.collect());
    }

    /// Prints the rows; nothing when there are none.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        for line in self.lines() {
            output::say(&line)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths);
            let padded: Vec<String> = cells
                .map(|(cell, &width)| format!("{cell:<width$}"))
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(vec!["ü1234".to_owned(), "x".to_owned()]);
        assert_eq!(table.lines(), ["A      LONG", "ü1234  x"]);
    }

    #[test]
    fn no_cell_does_anything_to_the_terminal() {
        let mut table = Table::new(&["A"]);
        table.row(vec!["a\u{1b}[2J\nb\u{9b}c\u{202e}".to_owned()]);
        assert_eq!(table.lines()[1], r"a\u{1b}[2J\u{a}b\u{9b}c\u{202e}");
    }
}
