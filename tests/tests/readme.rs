//! The README says what the program does.

use transom::config::settings_markdown;
use transom_tests::repository;

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->";

/// `UPDATE_README=1 cargo test -p transom-tests readme` writes the table instead of comparing it.
#[test]
fn the_table_of_settings_is_that_of_the_program() {
    let path = repository().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("there is a README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README has a line <!-- settings -->");
    let (table, after) = rest.split_once(END).expect("the README has a line <!-- /settings -->");
    let current = settings_markdown();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{current}{END}{after}")).expect("the repository is ours");
        return;
    }
    assert!(table == current, "the table is out of date: UPDATE_README=1 cargo test -p transom-tests readme");
}
