//! Tables: a header, a rule, rows; numbers to the right, no wider than the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent,
};

/// Starts a table; columns whose title starts with `<` are text, the others numbers.
pub fn table(titles: &[&str], width: Option<u16>) -> Table {
    let mut table = Table::new();
    // Only the rule under the header is drawn.
    table.load_preset(NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_style(TableComponent::MiddleHeaderIntersections, '─');
    match width {
        Some(width) => {
            table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    let header = titles.iter().map(|title| match title.strip_prefix('<') {
        Some(title) => Cell::new(title).set_alignment(CellAlignment::Left),
        None => Cell::new(title).set_alignment(CellAlignment::Right),
    });
    table.set_header(header);
    for (column, title) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, 1));
        if !title.starts_with('<') {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// The table as text, without blanks at the ends of lines.
pub fn text(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// A list in lines of at most `width` columns, the second and later ones indented.
pub fn list(title: &str, items: &[String], width: Option<u16>) -> String {
    let width = usize::from(width.unwrap_or(100));
    let mut text = format!("{title}:");
    let mut column = text.chars().count();
    for (at, item) in items.iter().enumerate() {
        let item = if at + 1 < items.len() {
            format!("{item},")
        } else {
            item.clone()
        };
        let length = item.chars().count() + 1;
        if column + length > width {
            text.push_str("\n ");
            column = 1;
        }
        text.push_str(&format!(" {item}"));
        column += length;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = table(&["<name", "bytes"], None);
        table.add_row(["weights", "7"]);
        table.add_row(["x", "1234567"]);
        insta::assert_snapshot!(text(&table));
    }

    #[test]
    fn tables_fit_the_terminal() {
        let mut table = table(&["<name", "bytes"], Some(20));
        table.add_row(["a long name that has to be broken", "1234567"]);
        assert!(text(&table).lines().all(|line| line.chars().count() <= 20));
    }

    #[test]
    fn lists_are_broken_between_items() {
        let items = ["Add 88", "Cast 15", "Concat 25"].map(str::to_owned);
        insta::assert_snapshot!(list("operators", &items, Some(24)), @r"
        operators: Add 88,
          Cast 15, Concat 25
        ");
    }
}
