//! The one table at the end: what was to be reached, what was measured, what the peers do.

use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};

#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    measured: String,
    goal: String,
    met: Option<bool>,
    peers: String,
}

impl Rows {
    /// A figure with the most that it should be.
    pub(crate) fn add(&mut self, what: impl Into<String>, figure: f64, most: f64, unit: &str, peers: String) {
        self.show(what, format!("{figure:.2}{unit}"), format!("{most}{unit}"), Some(figure <= most), peers);
    }

    /// A row whose figures are put together elsewhere.
    pub(crate) fn show(
        &mut self,
        what: impl Into<String>,
        measured: String,
        goal: String,
        met: Option<bool>,
        peers: String,
    ) {
        let row = Row { what: what.into(), measured, goal, met, peers };
        println!(
            "{}: {} (goal {}){}",
            row.what,
            row.measured,
            row.goal,
            if met == Some(false) { " NOT MET" } else { "" }
        );
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["what", "measured", "goal, at most", "met", "peers, in the same run"]);
        for row in &self.0 {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            table.add_row([&row.what, &row.measured, &row.goal, met, &row.peers]);
        }
        println!("\n{table}");
    }
}
