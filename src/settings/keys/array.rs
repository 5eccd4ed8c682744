//! Arrays of tables in the settings file, such as `[[source]]`.

/// An array of tables. An item is read with the rows of a table, whose own values apply to every item that does not
/// set them, and with the rows named after the array, which only items have: `source.name`. Several arrays with one
/// name are distinguished by the `type` of their items.
#[derive(Debug)]
pub struct Array {
    /// `source`: an item begins with `[[source]]`.
    pub name: &'static str,
    /// The `type` of its items; `None` if all items have the same type and no such key.
    pub of_type: Option<&'static str>,
    /// The table whose keys an item takes.
    pub table: &'static str,
}
