//! Arrays of tables in the settings file, such as `[[source]]`.

/// An array of tables. An item is read with the rows of a table, whose own values hold for every item that has none, and with
/// the rows that are named after the array, which only items have: `source.name`. Several arrays of one name are told apart by
/// the `type` of their items.
#[derive(Debug)]
pub struct Array {
    /// `source`: an item begins with `[[source]]`.
    pub name: &'static str,
    /// The `type` of its items; none where the array has items of one type only, which then have no such key.
    pub of_type: Option<&'static str>,
    /// The table whose keys an item takes.
    pub table: &'static str,
}
