//! Arrays of tables in the settings file, such as `[[source]]`.

/// An array of tables. An item is read with the rows of a table, whose own values hold for every item that has none, and with
/// the rows that are named after the array, which only items have: `source.name`.
#[derive(Debug)]
pub struct Array {
    /// `source`: an item begins with `[[source]]`.
    pub name: &'static str,
    /// The table whose keys an item takes.
    pub table: &'static str,
}
