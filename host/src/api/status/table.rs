//! A table, which on a narrow screen is a list of cards: so each cell knows its column, and each element
//! its part, which is lost on browsers otherwise once it is laid out another way.

use super::markup::Markup;

/// How many rows are shown: a browser takes its time for thousands.
const MOST_ROWS: usize = 1_000;

/// A table under construction.
pub(super) struct Table {
    columns: &'static [&'static str],
    markup: Markup,
    rows: usize,
}

impl Table {
    pub(super) fn new(caption: &'static str, columns: &'static [&'static str]) -> Self {
        let mut markup = Markup::default();
        markup.html("<table role=\"table\"><caption>").text(caption);
        markup.html("</caption><thead role=\"rowgroup\"><tr role=\"row\">");
        for column in columns {
            markup.html("<th role=\"columnheader\" scope=\"col\">");
            markup.text(column).html("</th>");
        }
        markup.html("</tr></thead><tbody role=\"rowgroup\">\n");
        Self {
            columns,
            markup,
            rows: 0,
        }
    }

    /// Adds a row, of which the first cell says what it is about.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Markup>) {
        self.rows += 1;
        if self.rows > MOST_ROWS {
            return;
        }
        self.markup.html("<tr role=\"row\">");
        for (index, (cell, column)) in cells.into_iter().zip(self.columns).enumerate() {
            if index == 0 {
                self.markup.html("<th role=\"rowheader\" scope=\"row\">");
                self.markup.markup(&cell).html("</th>");
                continue;
            }
            self.markup.html("<td role=\"cell\" data-label=\"");
            self.markup.text(column).html("\"><div>");
            self.markup.markup(&cell).html("</div></td>");
        }
        self.markup.html("</tr>\n");
    }

    /// The table, or where it has no rows this in its place.
    pub(super) fn finish(mut self, page: &mut Markup, instead: &'static str) {
        if self.rows == 0 {
            page.html("<p>").text(instead).html("</p>\n");
            return;
        }
        self.markup.html("</tbody></table>\n");
        page.markup(&self.markup);
        if let Some(more) = self.rows.checked_sub(MOST_ROWS).filter(|more| *more > 0) {
            page.html("<p>").text(more);
            page.html(" more are in <a href=\"/status.json\">status.json</a>.</p>\n");
        }
    }
}
